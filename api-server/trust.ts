/** Opens the authority and makes what the listeners need of it: the server's certificate, kept fresh while it runs. */
import { isIP } from "node:net";
import { Event, EventType, ObjectReference } from "../gen/drover/v1/event.ts";
import type { Clock } from "../lib/clock.ts";
import type { Logger } from "../lib/log.ts";
import type { Random } from "../lib/random.ts";
import { Authority } from "./authority/authority.ts";
import { firstCertificates, keepRenewed, type UpkeepParts, watchExpiry } from "./authority/upkeep.ts";
import { type Config, splitAddress } from "./config.ts";
import { ServerTls } from "./credentials.ts";
import type { Trust } from "./listeners.ts";
import type { Call } from "./objects.ts";
import { recordEvent } from "./records/events.ts";
import type { TableParts } from "./services/table.ts";

const WILDCARDS = ["0.0.0.0", "::"];
const ALWAYS = ["localhost", "127.0.0.1", "::1"];

export type TrustOptions = { config: Pick<Config, "pki" | "listen">; clock: Clock; random: Random; log: Logger };

/** Undefined where the configuration has no authority. Throws what the administrator has to put right. */
export async function openAuthority({ config, clock, random }: TrustOptions): Promise<Authority | undefined> {
  const { pki } = config;
  return pki && Authority.open({ directory: pki.directory, trustDomain: pki.trustDomain, clock, random });
}

/** The first certificates, and the work that keeps them fresh until the signal aborts. */
export async function openTrust(
  authority: Authority,
  { config, clock, random, log }: TrustOptions,
  { parts, signal }: { parts: TableParts; signal: AbortSignal },
): Promise<{ trust: Trust; running: Promise<unknown> }> {
  const upkeep: UpkeepParts = { authority, names: namesOf(config), clock, random, log, alarm: (message) => tell(parts, message, signal) };
  const { server, renewInMs } = await firstCertificates(upkeep);
  const tls = new ServerTls(authority.caPem, server);
  const whole = { ...upkeep, serverRenewed: (pair: typeof server) => tls.replace(pair) };
  return { trust: { authority, tls }, running: Promise.all([keepRenewed(whole, renewInMs, signal), watchExpiry(upkeep, signal)]) };
}

/** What is configured, where it listens, and this machine. */
export function namesOf({ pki, listen }: Pick<Config, "pki" | "listen">): { names: string[]; addresses: string[] } {
  const hosts = [listen.public, listen.agents, listen.enrolment].flatMap((address) => (address === undefined ? [] : [splitAddress(address)?.host ?? ""]));
  const all = new Set([...(pki?.names ?? []), ...hosts.filter((host) => host !== "" && !WILDCARDS.includes(host)), ...ALWAYS]);
  return { names: [...all].filter((name) => isIP(name) === 0), addresses: [...all].filter((name) => isIP(name) !== 0) };
}

/** Where agents find the server, as far as it knows itself: without a host where it listens everywhere. */
export function advertised(address: string, port: number): string {
  const { host } = splitAddress(address) ?? { host: "" };
  return `${WILDCARDS.includes(host) ? "" : host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** There is no object of the authority, so the event stands by itself. */
async function tell(parts: TableParts, message: string, signal: AbortSignal): Promise<void> {
  const caller = { subject: "api-server", role: "control-plane" } as const;
  const call: Call = { caller, requestId: "", repeatable: false, rpc: "", bodyHash: "", validateOnly: false, signal };
  const regarding = ObjectReference.create({ kind: "Authority", name: "ca" });
  await recordEvent(parts, Event.create({ regarding, reason: "CertificateExpiring", message, type: EventType.WARNING, source: "api-server" }), call);
}
