/** `login` and `context ...`: the servers that this user knows, and how they know the user. */
import { existsSync } from "node:fs";
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { dirname, join, resolve } from "node:path";
import { AuthServiceDefinition } from "../../gen/drover/v1/auth.ts";
import { connect } from "../../lib/client.ts";
import type { Access } from "../../lib/client.ts";
import { command, text } from "../command.ts";
import { readUserFile, type StoredContext, userFilePath, writeContext, writeCurrent, writePrivate } from "../config-file.ts";
import { accessTo, checkAddress, tokenIn } from "../context.ts";
import type { Environment } from "../context.ts";
import { UsageError } from "../failure.ts";
import type { Session } from "../session.ts";
import { tableLines } from "../table.ts";

export const login = command({
  path: ["login"],
  summary: "Remember a server and how it knows you, and make it the current context",
  args: ["<server>"],
  flags: {
    name: text("--name <context>", "name of the context (default: the server's host)"),
    cert: text("--cert <file>", "client certificate, in place of a token"),
    key: text("--key <file>", "key of the certificate"),
    pin: text("--ca-pin <pin>", "the authority's key, as base64url of its SHA-256; its certificate is then taken from the server"),
  },
  more: "Without --token-file and --cert the token is asked for, and not shown. It is kept in ~/.config/drover/config.yaml, mode 0600.",
  local: true,
  async run({ args: [address = ""], flags, session }) {
    checkAddress({ address, from: "the command line" });
    const path = pathOf(session.environment);
    const name = flags.name ?? address.replace(/^unix:(\/\/)?|:\d+$/g, "");
    const files = filesOf(flags);
    const ca = flags.pin === undefined ? session.globals.ca : await pinnedFile(address, { pin: flags.pin, path: join(dirname(path), `${fileName(name)}-ca.pem`) });
    const token = await tokenFor(address, session, files);
    const stored: StoredContext = { server: address, ...(ca !== undefined && { ca: resolve(ca) }), ...files, ...(token !== undefined && { token }) };
    const { namespace } = session.globals;
    const subject = await whoAmI(address, accessTo({ address, from: "" }, { flags: {}, environment: {}, stored }), session);
    await writeContext(path, name, { ...stored, ...(namespace !== undefined && { namespace }) });
    session.out.line(`logged in to ${address} as ${subject}; context "${name}" is the current one`);
  },
});

export const contextList = command({
  path: ["context", "list"],
  summary: "Show the contexts",
  flags: {},
  local: true,
  async run({ session }) {
    const file = await readUserFile(session.environment);
    const rows = [...(file?.contexts ?? [])].map(([name, { server = "", namespace = "", token, cert }]) =>
      [name === file?.current ? "*" : "", name, server, namespace, token ? "token" : cert ? "certificate" : ""]);
    session.out.lines(tableLines(["CURRENT", "NAME", "SERVER", "NAMESPACE", "CREDENTIAL"], rows));
  },
});

export const contextUse = command({
  path: ["context", "use"],
  summary: "Make a context the current one",
  args: ["<name>"],
  flags: {},
  local: true,
  async run({ args: [name = ""], session }) {
    const file = await readUserFile(session.environment);
    if (!file?.contexts.has(name)) throw new UsageError(`there is no context "${name}": there are ${[...(file?.contexts.keys() ?? [])].join(", ") || "none"}`);
    await writeCurrent(file.path, name);
    session.out.line(`context "${name}" is the current one`);
  },
});

function pathOf(environment: Environment): string {
  const path = userFilePath(environment);
  if (path === undefined) throw new UsageError("there is no place for the file: HOME and XDG_CONFIG_HOME are not set");
  return path;
}

const fileName = (name: string) => name.replaceAll(/[^A-Za-z0-9._-]/g, "_");

function filesOf({ cert, key }: { cert: string | undefined; key: string | undefined }): Pick<StoredContext, "cert" | "key"> {
  if (cert === undefined && key === undefined) return {};
  if (cert === undefined || key === undefined) throw new UsageError("--cert and --key go together");
  for (const path of [cert, key]) if (!existsSync(path)) throw new UsageError(`cannot read ${path}`);
  return { cert: resolve(cert), key: resolve(key) };
}

async function pinnedFile(address: string, { pin, path }: { pin: string; path: string }): Promise<string> {
  const { pinnedAuthority } = await import("../../lib/pki/pinned-authority.ts");
  writePrivate(path, await pinnedAuthority(address, pin.replace(/^sha256[:/]/, "")));
  return path;
}

async function tokenFor(address: string, { globals, environment, signal }: Session, files: StoredContext): Promise<string | undefined> {
  if (address.startsWith("unix:") || files.cert !== undefined) return undefined;
  if (globals.tokenFile !== undefined) return tokenIn(globals.tokenFile);
  const token = environment["DROVER_TOKEN"] || (await askedToken(signal));
  if (token === "") throw new UsageError("a token is required: --token-file FILE, DROVER_TOKEN, or standard input");
  return token;
}

/** Typed on a terminal it is not shown; from a pipe it is the first line. */
async function askedToken(signal: AbortSignal): Promise<string> {
  const terminal = process.stdin.isTTY;
  if (terminal) process.stderr.write("Token: ");
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() });
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal });
  try {
    const { done, value } = await lines[Symbol.asyncIterator]().next();
    signal.throwIfAborted();
    return done ? "" : value.trim();
  } finally {
    lines.close();
    if (terminal) process.stderr.write("\n");
  }
}

async function whoAmI(address: string, access: Access, { signal }: Session): Promise<string> {
  using connection = connect({ server: address, ...access });
  const { subject } = await connection.client(AuthServiceDefinition).whoAmI({}, { signal });
  return subject;
}
