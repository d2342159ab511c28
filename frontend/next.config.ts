import type { NextConfig } from "next";

// A static export: the service serves it, and so can any static host. NEXT_PUBLIC_API_URL names the service then; empty means "where the page is".
const config: NextConfig = {
  output: "export",
  trailingSlash: true,
  poweredByHeader: false,
  reactStrictMode: true,
  // Leaves out of Next.js's own modules what nothing asks for.
  experimental: { turbopackCjsTreeShaking: true },
  images: { unoptimized: true },
  // Unset, it would be looked up at run time, by way of a stand-in for Node's `process`.
  env: { NEXT_PUBLIC_API_URL: process.env.NEXT_PUBLIC_API_URL ?? "" },
};

export default config;
