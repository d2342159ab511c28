import Head from "next/head";

export default function NotFound() {
  return (
    <>
      <Head><title>Not here · crypto_rti</title></Head>
      <h1>There is nothing at this address</h1>
      <p>There is <a href="/">the forecast</a>, and <a href="/how/">how it works</a>.</p>
    </>
  );
}
