import { useMemo, useSyncExternalStore } from "react";

const listeners = new Set<() => void>();

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  window.addEventListener("popstate", listener);
  return () => (listeners.delete(listener), window.removeEventListener("popstate", listener));
}

/** The query of the address, as it changes by `goTo` and by going back; empty in the page's file, which knows no address. */
export function useQuery(): URLSearchParams {
  const search = useSyncExternalStore(subscribe, () => window.location.search, () => "");
  return useMemo(() => new URLSearchParams(search), [search]);
}

/** Go to another query of the same page. */
export function goTo(search: string): void {
  window.history.pushState(null, "", search);
  for (const listener of listeners) listener();
}
