import type { Metadata } from "next";

export const metadata: Metadata = { title: "Not here" };

export default function NotFound() {
  return (
    <>
      <h1>There is nothing at this address</h1>
      <p>There is <a href="/">the forecast</a>, and <a href="/how/">how it works</a>.</p>
    </>
  );
}
