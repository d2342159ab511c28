import { expect, it } from "vitest";
import { withoutScripts } from "./still.mjs";

it("takes scripts out, and nothing else", () => {
  const page = '<link rel="preload" as="script" href="/a.js"/><link rel="stylesheet" href="/a.css"/><script src="/a.js" async=""></script><p>1 &lt; 2</p><script>self.push([1,"<p>"])</script>';
  expect(withoutScripts(page)).toBe('<link rel="stylesheet" href="/a.css"/><p>1 &lt; 2</p>');
});
