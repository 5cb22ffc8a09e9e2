/** Where the server is: the flag, the environment, the user's file, the usual address; in this order, and it says which. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { UsageError } from "./failure.ts";

export type Server = { address: string; from: string };
export type Environment = Readonly<Record<string, string | undefined>>;
export type Context = { server: Server; namespace: string };

const USUAL_ADDRESS = "127.0.0.1:7443";
const ADDRESS = /^(unix:(\/\/)?\/.+|\[[0-9a-fA-F:.]+\]:\d{1,5}|[A-Za-z0-9._-]+:\d{1,5})$/;

type Flags = { server?: string | undefined; namespace?: string | undefined };

export async function findContext({ server, namespace }: Flags, environment: Environment): Promise<Context> {
  const given = server !== undefined && { address: server, from: "--server" };
  const fromEnvironment = environment["DROVER_SERVER"] ? { address: environment["DROVER_SERVER"], from: "DROVER_SERVER" } : undefined;
  // The file is only read for what nothing else says: most calls need no YAML parser.
  const first = given || fromEnvironment;
  const file = first && namespace !== undefined ? {} : await userFile(environment);
  const chosen = first ?? file.server ?? { address: USUAL_ADDRESS, from: "the usual address; --server or DROVER_SERVER name another" };
  if (!ADDRESS.test(chosen.address)) {
    throw new UsageError(`the server's address "${chosen.address}" (from ${chosen.from}) must be host:port or unix:///path`);
  }
  return { server: chosen, namespace: namespace ?? file.namespace ?? "default" };
}

async function userFile(environment: Environment): Promise<{ server?: Server; namespace?: string }> {
  const base = environment["XDG_CONFIG_HOME"] || (environment["HOME"] && join(environment["HOME"], ".config"));
  if (!base) return {};
  const path = join(base, "drover", "config.yaml");
  const text = textOf(path);
  if (text === undefined) return {};
  const { parse } = await import("yaml");
  const content: unknown = parse(text);
  const { server, namespace } = (typeof content === "object" && content !== null ? content : {}) as Record<string, unknown>;
  return {
    ...(typeof server === "string" && { server: { address: server, from: path } }),
    ...(typeof namespace === "string" && { namespace }),
  };
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`);
  }
}
