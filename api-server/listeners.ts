/**
 * Who is served what: local administrators and the controller by a socket, users and the controller by TLS, agents by
 * their certificates, hosts that join by their tokens. Nothing but loopback is ever served in the clear.
 */
import type { AssemblyParts } from "./assemble.ts";
import type { Authority } from "./authority/authority.ts";
import type { Config } from "./config.ts";
import type { ServerTls } from "./credentials.ts";
import { Authenticator } from "./interceptors/authenticate.ts";
import { agentCaller, anonymousCaller, insecureCaller, localCaller } from "./interceptors/peer.ts";
import { type Listener, MIB } from "./server.ts";
import { agentServices, enrolmentServices, publicServices } from "./services/table.ts";

const USER_MESSAGE_BYTES_MAX = MIB;
const AGENT_MESSAGE_BYTES_MAX = 4 * MIB;
/** A token and two certificate requests. */
const ENROLMENT_MESSAGE_BYTES_MAX = 32 * 1024;

/** What stands behind TLS. */
export type Trust = { authority: Authority; tls: ServerTls };

export function listenersOf({ listen, auth }: Pick<Config, "listen" | "auth">, parts: AssemblyParts, trust?: Trust): Listener[] {
  const open = { services: publicServices(parts), messageBytesMax: USER_MESSAGE_BYTES_MAX, described: true };
  const { unix, insecureLoopback } = listen;
  return [
    ...(unix === undefined ? [] : [{ ...open, name: "unix" as const, address: `unix:${unix}`, callerOf: localCaller }]),
    ...(insecureLoopback === undefined ? [] : [{ ...open, name: "insecureLoopback" as const, address: insecureLoopback, callerOf: insecureCaller }]),
    ...(trust ? secured({ listen, auth }, parts, trust) : []),
  ];
}

function secured({ listen, auth }: Pick<Config, "listen" | "auth">, parts: AssemblyParts, { authority, tls }: Trust): Listener[] {
  const { certificates, clock, rights, log } = parts;
  if (!certificates) throw new Error("There is an authority for the listeners and none for the services");
  const withCertificates = { ...parts, certificates };
  const peers = { trustDomain: authority.trustDomain, signed: (der: Buffer) => authority.signed(der), clock };
  const { callerOf } = new Authenticator({ config: auth, rights, clock, log });
  return [
    ...(listen.public === undefined ? [] : [{
      name: "public" as const, address: listen.public, services: publicServices(parts), callerOf, messageBytesMax: USER_MESSAGE_BYTES_MAX,
      described: true, tls: { credentials: tls.credentials("optional"), peers },
    }]),
    ...(listen.agents === undefined ? [] : [{
      name: "agents" as const, address: listen.agents, services: agentServices(withCertificates), callerOf: agentCaller(parts.identities),
      messageBytesMax: AGENT_MESSAGE_BYTES_MAX, described: false, tls: { credentials: tls.credentials("required"), peers },
    }]),
    ...(listen.enrolment === undefined ? [] : [{
      name: "enrolment" as const, address: listen.enrolment, services: enrolmentServices(withCertificates), callerOf: anonymousCaller,
      messageBytesMax: ENROLMENT_MESSAGE_BYTES_MAX, described: false, tls: { credentials: tls.credentials("none") },
    }]),
  ];
}
