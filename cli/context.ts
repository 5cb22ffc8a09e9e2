/**
 * Where the server is: the flag, the environment, the context, the usual address; in this order, and it says which. And how
 * this user is known there: what a context holds goes to the server of that context, and to no other.
 */
import { isIP } from "node:net";
import type { Access } from "../lib/client.ts";
import { type Environment, readUserFile, type StoredContext, textOf, type UserFile } from "./config-file.ts";
import { UsageError } from "./failure.ts";

export type Server = { address: string; from: string };
export type Context = { server: Server; namespace: string; access: Access };
export type { Environment } from "./config-file.ts";

const USUAL_ADDRESS = "unix:///run/drover/api.sock";
const ADDRESS = /^(unix:(\/\/)?\/.+|\[[0-9a-fA-F:.]+\]:\d{1,5}|[A-Za-z0-9._-]+:\d{1,5})$/;

/** For commands that find their own server: nothing is sent there. */
export const NOWHERE: Context = { server: { address: USUAL_ADDRESS, from: "the usual address" }, namespace: "default", access: {} };

export type ContextFlags = {
  server?: string | undefined;
  namespace?: string | undefined;
  context?: string | undefined;
  ca?: string | undefined;
  tokenFile?: string | undefined;
  insecure?: boolean | undefined;
};

export async function findContext(flags: ContextFlags, environment: Environment): Promise<Context> {
  // The file is only read for what nothing else says: most calls to a socket need no YAML parser.
  const given = givenServer(flags, environment);
  const settled = given?.address.startsWith("unix:") && flags.namespace !== undefined;
  const file = settled ? undefined : await readUserFile(environment);
  const { name, stored } = given && !flags.context ? { name: undefined, stored: matching(file, given.address) } : chosenContext(file, flags, environment);
  const server = given ?? contextServer(file, name, stored);
  checkAddress(server);
  const namespace = flags.namespace ?? stored?.namespace ?? file?.namespace ?? "default";
  return { server, namespace, access: accessTo(server, { flags, environment, stored: stored?.server === server.address ? stored : undefined }) };
}

export function checkAddress({ address, from }: Server): void {
  if (!ADDRESS.test(address)) throw new UsageError(`the server's address "${address}" (from ${from}) must be host:port or unix:///path`);
}

function givenServer({ server }: ContextFlags, environment: Environment): Server | undefined {
  if (server !== undefined) return { address: server, from: "--server" };
  return environment["DROVER_SERVER"] ? { address: environment["DROVER_SERVER"], from: "DROVER_SERVER" } : undefined;
}

/** The current context, when it is that server's. */
function matching(file: UserFile | undefined, address: string): StoredContext | undefined {
  const current = file?.current === undefined ? undefined : file.contexts.get(file.current);
  return current?.server === address ? current : undefined;
}

function chosenContext(file: UserFile | undefined, { context }: ContextFlags, environment: Environment): { name?: string; stored?: StoredContext } {
  const wanted = context ?? (environment["DROVER_CONTEXT"] || undefined);
  const name = wanted ?? file?.current;
  if (name === undefined) return {};
  const stored = file?.contexts.get(name);
  if (stored) return { name, stored };
  const known = [...(file?.contexts.keys() ?? [])].join(", ") || "none";
  throw new UsageError(`there is no context "${name}": there are ${known}; \`drover login\` makes one`);
}

function contextServer(file: UserFile | undefined, name: string | undefined, stored: StoredContext | undefined): Server {
  if (stored?.server !== undefined) return { address: stored.server, from: `context "${name}"` };
  if (file?.server !== undefined) return { address: file.server, from: file.path };
  return { address: USUAL_ADDRESS, from: "the usual address; --server, DROVER_SERVER or `drover login` name another" };
}

type Known = { flags: ContextFlags; environment: Environment; stored: StoredContext | undefined };

/** Nothing of value ever travels in the clear: what is not TLS is a socket, or this machine and no credential. */
export function accessTo({ address }: Server, { flags, environment, stored = {} }: Known): Access {
  if (address.startsWith("unix:")) return {};
  if (flags.insecure) {
    if (!isLoopback(address)) throw new UsageError(`--insecure is for loopback addresses: ${address} is none`);
    return {};
  }
  const ca = flags.ca ?? (environment["DROVER_CA"] || undefined) ?? stored.ca;
  const token = flags.tokenFile === undefined ? (environment["DROVER_TOKEN"] || undefined) : tokenIn(flags.tokenFile);
  const own = stored.cert !== undefined && stored.key !== undefined ? { cert: stored.cert, key: stored.key } : {};
  const shown = token ?? stored.token;
  // A token that is given now takes the place of a certificate: a server refuses both.
  return { tls: { ...(ca !== undefined && { ca }), ...(token === undefined && own) }, ...(shown !== undefined && { token: shown }) };
}

export function tokenIn(path: string): string {
  const token = textOf(path)?.trim();
  if (token) return token;
  throw new UsageError(`there is no token in ${path}`);
}

function isLoopback(address: string): boolean {
  const host = address.replace(/:\d+$/, "").replace(/^\[|\]$/g, "");
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
