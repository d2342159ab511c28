import type { NextConfig } from "next";

// A static export: the service serves it, and so can any static host. NEXT_PUBLIC_API_URL names the service then; empty means "where the page is".
const config: NextConfig = {
  output: "export",
  trailingSlash: true,
  poweredByHeader: false,
  reactStrictMode: true,
  images: { unoptimized: true },
};

export default config;
