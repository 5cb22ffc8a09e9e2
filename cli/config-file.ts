/** The user's file, ~/.config/drover/config.yaml: where servers are and how this user is known to them. */
import { chmodSync, mkdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import type { Document } from "yaml";
import { UsageError } from "./failure.ts";

/** Paths are absolute, or relative to the file's directory. */
export type StoredContext = {
  server?: string;
  ca?: string;
  cert?: string;
  key?: string;
  token?: string;
  namespace?: string;
};

export type UserFile = {
  path: string;
  /** For those who need no contexts. */
  server?: string;
  namespace?: string;
  current?: string;
  contexts: ReadonlyMap<string, StoredContext>;
};

export type Environment = Readonly<Record<string, string | undefined>>;

const FIELDS = ["server", "ca", "cert", "key", "token", "namespace"] as const;
const PATHS = ["ca", "cert", "key"] as const;

/** Undefined where there is no home to have a file in. */
export function userFilePath(environment: Environment): string | undefined {
  const base = environment["XDG_CONFIG_HOME"] || (environment["HOME"] && join(environment["HOME"], ".config"));
  return base ? join(base, "drover", "config.yaml") : undefined;
}

export async function readUserFile(environment: Environment): Promise<UserFile | undefined> {
  const path = userFilePath(environment);
  const text = path && textOf(path);
  if (!path || text === undefined) return undefined;
  const { parse } = await import("yaml");
  const content = recordOf(parsed(path, () => parse(text)));
  const contexts = Object.entries(recordOf(content["contexts"])).map(([name, value]): [string, StoredContext] => [name, contextIn(recordOf(value), dirname(path))]);
  if (contexts.some(([, { token }]) => token !== undefined)) checkPrivate(path);
  const { server, namespace } = contextIn(content, dirname(path));
  const current = content["current-context"];
  return {
    path,
    contexts: new Map(contexts),
    ...(server !== undefined && { server }),
    ...(namespace !== undefined && { namespace }),
    ...(typeof current === "string" && { current }),
  };
}

/** Adds or replaces a context, and makes it the current one. What else is in the file stays, comments too. */
export async function writeContext(path: string, name: string, context: StoredContext): Promise<void> {
  await edit(path, (document) => {
    document.setIn(["contexts", name], document.createNode(context));
    document.set("current-context", name);
  });
}

export async function writeCurrent(path: string, name: string): Promise<void> {
  await edit(path, (document) => document.set("current-context", name));
}

async function edit(path: string, change: (document: Document) => void): Promise<void> {
  const { parseDocument } = await import("yaml");
  const document = parseDocument(textOf(path) ?? "");
  if (document.errors[0]) throw new UsageError(`${path}: ${document.errors[0].message}`);
  change(document);
  writePrivate(path, document.toString());
}

/** Whole or not at all, and for nobody else's eyes. */
export function writePrivate(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const next = `${path}.${process.pid}`;
  writeFileSync(next, text, { mode: 0o600 });
  chmodSync(next, 0o600);
  renameSync(next, path);
}

function contextIn(content: Record<string, unknown>, directory: string): StoredContext {
  const given = FIELDS.flatMap((field) => (typeof content[field] === "string" && content[field] !== "" ? [[field, content[field]] as const] : []));
  const context: StoredContext = Object.fromEntries(given);
  for (const field of PATHS) {
    const value = context[field];
    if (value !== undefined && !isAbsolute(value)) context[field] = join(directory, value);
  }
  return context;
}

function checkPrivate(path: string): void {
  if ((statSync(path).mode & 0o077) !== 0) throw new UsageError(`${path} holds a token and can be read by others: chmod 600 ${path}`);
}

const recordOf = (value: unknown): Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : {};

function parsed(path: string, parse: () => unknown): unknown {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(`${path}: ${(error as Error).message}`);
  }
}

export function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw new UsageError(`cannot read ${path}: ${(error as Error).message}`);
  }
}
