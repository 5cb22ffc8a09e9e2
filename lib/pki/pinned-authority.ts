/**
 * The first contact with a server whose authority is known by its pin alone. Nothing of it is believed but the pinned
 * certificate itself: the connection that follows checks everything against that.
 */
import { X509Certificate } from "node:crypto";
import { connect } from "node:tls";
import type { DetailedPeerCertificate } from "node:tls";
import { pinOf } from "./join-token.ts";

const CONNECT_MS = 10_000;
const CHAIN_MAX = 8;

export class PinNotFound extends Error {
  override name = "PinNotFound";
}

/** The pinned authority in PEM, and those above it, each of which has signed the one below. Throws PinNotFound. */
export async function pinnedAuthority(server: string, pin: string): Promise<string> {
  const chain = await shownChain(server);
  const at = chain.findIndex((certificate) => certificate.ca && pinOf(certificate) === pin);
  if (at < 0) throw new PinNotFound(`The server at ${server} does not show the authority of the pin ${pin}`);
  return signedChain(chain.slice(at)).map((certificate) => certificate.toString()).join("");
}

/** Whoever is in between can put anything behind the pinned certificate, but for what signed it. */
function signedChain([lowest, ...above]: X509Certificate[]): X509Certificate[] {
  const signed = lowest ? [lowest] : [];
  for (const issuer of above) {
    const last = signed.at(-1)!;
    if (!issuer.ca || !last.checkIssued(issuer) || !last.verify(issuer.publicKey)) break;
    signed.push(issuer);
  }
  return signed;
}

function shownChain(server: string): Promise<X509Certificate[]> {
  const { hostname, port } = new URL(`https://${server}`);
  const host = hostname.replace(/^\[|\]$/g, "");
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port || 443), rejectUnauthorized: false, ALPNProtocols: ["h2"], timeout: CONNECT_MS });
    socket.once("error", reject).once("timeout", () => socket.destroy(new Error(`${server} does not answer`)));
    socket.once("secureConnect", () => {
      const chain = certificatesOf(socket.getPeerCertificate(true));
      socket.destroy();
      resolve(chain);
    });
  });
}

function certificatesOf(leaf: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (let each: DetailedPeerCertificate | undefined = leaf; each?.raw && chain.length < CHAIN_MAX; ) {
    chain.push(new X509Certificate(each.raw));
    // A root is its own issuer.
    each = each.issuerCertificate === each ? undefined : each.issuerCertificate;
  }
  return chain;
}
