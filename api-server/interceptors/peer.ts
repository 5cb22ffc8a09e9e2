/**
 * Who calls, by listener. An agent is the name in its client certificate. nice-grpc shows no certificates to handlers, so an interceptor
 * below it writes the name into a header of its own, after dropping whatever a client sent under that header.
 */
import type { Http2Session } from "node:http2";
import { ServerInterceptingCall, type ServerInterceptingCallInterface, type ServerInterceptor } from "@grpc/grpc-js";
import type { CallContext } from "nice-grpc-common";
import { Unauthenticated } from "../../lib/errors.ts";
import type { Caller } from "../objects.ts";

const HEADER = "x-drover-node";
const URI = /^URI:spiffe:\/\/[a-z0-9.-]+\/node\/([a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?)$/;

export const peerIdentity: ServerInterceptor = (_method, call) =>
  new ServerInterceptingCall(call, {
    start(next) {
      next({
        onReceiveMetadata(metadata, proceed) {
          metadata.remove(HEADER);
          const node = nodeOf(call);
          if (node !== undefined) metadata.set(HEADER, node);
          proceed(metadata);
        },
      });
    },
  });

/** By connection: a certificate is shown once, in the handshake, and taking it apart costs more than most calls. */
const known = new WeakMap<object, string | undefined>();

function nodeOf(call: ServerInterceptingCallInterface): string | undefined {
  const session = sessionOf(call);
  if (session && known.has(session)) return known.get(session);
  const node = nodeName(call.getAuthContext().sslPeerCertificate?.subjectaltname ?? "");
  if (session) known.set(session, node);
  return node;
}

/** grpc-js keeps it to itself. Where it is not found, the certificate is read anew for each call. */
function sessionOf(call: ServerInterceptingCallInterface): object | undefined {
  return (call as { stream?: { session?: Http2Session | undefined } }).stream?.session;
}

/** The node of the one identity in a certificate; undefined when there is none or more than one. */
export function nodeName(subjectAltName: string): string | undefined {
  const uris = subjectAltName.split(", ").filter((entry) => entry.startsWith("URI:"));
  return uris.length === 1 ? URI.exec(uris[0]!)?.[1] : undefined;
}

/** Whoever can open the socket, which only its owner can. */
export const localCaller = (): Caller => ({ subject: "local", role: "admin" });
export const userCaller = (): Caller => ({ subject: "user", role: "user" });

export function nodeCaller({ metadata }: CallContext): Caller {
  const node = metadata.get(HEADER);
  if (!node) throw new Unauthenticated('The client certificate names no node: expected one URI "spiffe://<trust domain>/node/<name>"');
  return { subject: `node/${node}`, role: "node", node };
}
