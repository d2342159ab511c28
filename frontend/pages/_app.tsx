import type { AppProps } from "next/app";
import Head from "next/head";
import { Layout } from "@/components/Layout";
import "@/components/style.css";

export default function App({ Component, pageProps }: AppProps) {
  return (
    <Layout>
      <Head><meta name="viewport" content="width=device-width, initial-scale=1" /></Head>
      <Component {...pageProps} />
    </Layout>
  );
}
