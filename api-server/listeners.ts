/** Who is served what: local administrators and the controller, users, node agents. */
import { readFileSync } from "node:fs";
import type { Config } from "./config.ts";
import { localCaller, nodeCaller, userCaller } from "./interceptors/peer.ts";
import { type Listener, MIB, type Tls } from "./server.ts";
import { agentServices, publicServices, type TableParts } from "./services/table.ts";

const USER_MESSAGE_BYTES_MAX = MIB;
const AGENT_MESSAGE_BYTES_MAX = 4 * MIB;

export function listenersOf({ listen: { unix, tcp, agents }, agentsTls }: Pick<Config, "listen" | "agentsTls">, parts: TableParts): Listener[] {
  const open = { services: publicServices(parts), messageBytesMax: USER_MESSAGE_BYTES_MAX, described: true };
  return [
    ...(unix === undefined ? [] : [{ ...open, address: `unix:${unix}`, callerOf: localCaller }]),
    ...(tcp === undefined ? [] : [{ ...open, address: tcp, callerOf: userCaller }]),
    ...(agents === undefined || agentsTls === undefined ? [] : [agentListener(agents, readTls(agentsTls), parts)]),
  ];
}

function agentListener(address: string, tls: Tls, parts: TableParts): Listener {
  const services = agentServices(parts);
  return { address, services, callerOf: nodeCaller, messageBytesMax: AGENT_MESSAGE_BYTES_MAX, described: false, tls };
}

function readTls({ ca, cert, key }: NonNullable<Config["agentsTls"]>): Tls {
  return { ca: readFileSync(ca), cert: readFileSync(cert), key: readFileSync(key) };
}
