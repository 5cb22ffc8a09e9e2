/**
 * Who is at the other end of a connection, by the certificate that the TLS layer has verified. nice-grpc shows no
 * certificates to handlers, so an interceptor below it writes what it found into a header of its own, after dropping
 * whatever a client sent under that name.
 */
import type { Http2Session } from "node:http2";
import { ServerInterceptingCall, type ServerInterceptingCallInterface, type ServerInterceptor } from "@grpc/grpc-js";
import type { PeerCertificate } from "node:tls";
import type { CallContext } from "nice-grpc-common";
import type { Clock } from "../../lib/clock.ts";
import { Unauthenticated } from "../../lib/errors.ts";
import { identityIn } from "../../lib/pki/identity.ts";
import type { Caller } from "../objects.ts";
import type { NodeIdentities } from "../sessions/node-identities.ts";

export type Peer =
  | { kind: "node"; uid: string; incarnation: number }
  | { kind: "controller" }
  | { kind: "user"; name: string; groups: string[]; /** When the certificate ends, in milliseconds of wall time. */ expireMs: number }
  /** A verified certificate that names nobody who may call: of QEMU, of a server, with no or two identities, past its end. */
  | { kind: "unusable" }
  /** No certificate, or one that the authority did not sign. */
  | { kind: "none" };

export type PeerRules = {
  trustDomain: string;
  /** Whether this authority signed it, and not another one below the same root. */
  signed: (der: Buffer) => boolean;
  clock: Clock;
};

const HEADER = "x-drover-peer";
const GROUPS_MAX = 64;

/** Without rules there are no certificates on the listener, and nobody is anybody. */
export function peerIdentity(rules: PeerRules | undefined): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start(next) {
        next({
          onReceiveMetadata(metadata, proceed) {
            metadata.remove(HEADER);
            const peer = rules && standing(call, rules);
            if (peer) metadata.set(...headerOf(peer));
            proceed(metadata);
          },
        });
      },
    });
}

type Shown = { peer: Peer; expireMs: number };

/** By connection: a certificate is shown once, in the handshake, and taking it apart costs more than most calls. */
const shownOn = new WeakMap<object, Shown>();

/** Undefined unless the TLS layer found the whole chain in order. */
function standing(call: ServerInterceptingCallInterface, rules: PeerRules): Peer | undefined {
  const session = sessionOf(call);
  const known = session && shownOn.get(session);
  const shown = known ?? read(call, rules);
  if (session && shown && !known) shownOn.set(session, shown);
  // A connection may outlive the certificate that it was made with.
  return shown && rules.clock.now().getTime() >= shown.expireMs ? { kind: "unusable" } : shown?.peer;
}

function read(call: ServerInterceptingCallInterface, rules: PeerRules): Shown | undefined {
  const certificate = call.getAuthContext().sslPeerCertificate;
  return certificate && { peer: peerIn(certificate, rules), expireMs: Date.parse(certificate.valid_to) };
}

/** grpc-js keeps it to itself. Where it is not found, the certificate is read anew for each call. */
function sessionOf(call: ServerInterceptingCallInterface): object | undefined {
  return (call as { stream?: { session?: Http2Session | undefined } }).stream?.session;
}

/** What a verified certificate makes of its holder. */
export function peerIn(certificate: PeerCertificate, { trustDomain, signed, clock }: PeerRules): Peer {
  const expireMs = Date.parse(certificate.valid_to);
  const over = !(expireMs > clock.now().getTime());
  const identity = identityIn(trustDomain, certificate.subjectaltname ?? "");
  if (over || identity === undefined || !signed(certificate.raw)) return { kind: "unusable" };
  switch (identity.kind) {
    case "node":
      return { kind: "node", uid: identity.uid, incarnation: identity.incarnation };
    case "controller":
      return { kind: "controller" };
    case "user":
      return { kind: "user", name: identity.name, groups: groupsOf(certificate), expireMs };
    case "migration":
    case "api-server":
      return { kind: "unusable" };
  }
}

/** Node prints one organization as a text and several as a list, whatever its types say. */
function groupsOf({ subject }: PeerCertificate): string[] {
  const groups = subject.O as string | string[] | undefined;
  return (groups === undefined ? [] : [groups].flat()).slice(0, GROUPS_MAX);
}

/** What is written for the handlers: only what is below them may write it. */
export const headerOf = (peer: Peer): [string, string] => [HEADER, Buffer.from(JSON.stringify(peer)).toString("base64url")];

/** The one at the other end of the call's connection. */
export function peerOf({ metadata }: Pick<CallContext, "metadata">): Peer {
  const header = metadata.get(HEADER);
  return header ? (JSON.parse(Buffer.from(header, "base64url").toString()) as Peer) : { kind: "none" };
}

/** Whoever can open the socket, which only its owner can. */
export const localCaller = (): Caller => ({ subject: "local", role: "admin" });

/** For development: whoever is on this machine. */
export const insecureCaller = (): Caller => ({ subject: "user/insecure-loopback", role: "user", grants: [{ role: "admin", namespaces: [] }] });

/** Nobody yet: the call itself says by its token who it is from. */
export const anonymousCaller = (): Caller => ({ subject: "anonymous", role: "user" });

/** The agent of a node that stands, by its certificate alone. */
export function agentCaller(identities: Pick<NodeIdentities, "nodeOf">): (context: CallContext) => Caller {
  return (context) => {
    const peer = peerOf(context);
    if (peer.kind !== "node") throw new Unauthenticated("The client certificate is of no node's agent");
    const { uid, incarnation } = peer;
    const node = identities.nodeOf(peer);
    return { subject: `node/${node}`, role: "node", node, nodeIdentity: { uid, incarnation } };
  };
}
