import { useEffect, useRef, useState, type ReactNode } from "react";

/** Holds back what is costly to fetch and draw until it is about to be seen; then it stays. */
export function Near({ children, before }: { children: ReactNode; before: ReactNode }) {
  const place = useRef<HTMLDivElement>(null);
  const [near, setNear] = useState(false);
  useEffect(() => {
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && setNear(true), { rootMargin: "300px" });
    observer.observe(place.current!);
    return () => observer.disconnect();
  }, []);
  return <div ref={place}>{near ? children : before}</div>;
}
