/** `auth ...`: who the caller is, what it may do, and the credentials that Drover gives out. */
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { AuthServiceDefinition } from "../../gen/drover/v1/auth.ts";
import type { ServiceToken } from "../../gen/drover/v1/auth.ts";
import { command, duration, text, toggle } from "../command.ts";
import { writePrivate } from "../config-file.ts";
import { CommandFailed, UsageError } from "../failure.ts";
import { age } from "../kinds/kind.ts";
import { kindWord } from "../kinds/names.ts";
import { mutate } from "../session.ts";
import type { Session } from "../session.ts";
import { tableLines } from "../table.ts";

const DAY_MS = 86_400_000;
const PAGE_SIZE = 500;

const authOf = ({ connection }: Session) => connection.client(AuthServiceDefinition);
const listOf = (given: string | undefined) => (given ?? "").split(",").map((one) => one.trim()).filter(Boolean);

export const whoami = command({
  path: ["auth", "whoami"],
  summary: "Show who you are to the server",
  flags: {},
  async run({ session }) {
    const { subject, role, groups, expireTime } = await authOf(session).whoAmI({}, { signal: session.signal });
    if (session.out.format === "json") return session.out.line(JSON.stringify({ subject, role, groups, expireTime }));
    const until = expireTime ? [`until: ${expireTime.toISOString()}`] : [];
    return session.out.lines([`subject: ${subject}`, `role: ${role}`, `groups: ${groups.join(", ") || "none"}`, ...until]);
  },
});

export const canI = command({
  path: ["auth", "can-i"],
  summary: "Ask whether you may do something; exit code 1 when not",
  args: ["<verb>", "<kind>", "[name]"],
  flags: { everywhere: toggle("-A, --all-namespaces", "in every namespace") },
  more: "Verbs are get, list, watch, create, update, delete, and a kind's own, such as start, stop, migrate, console, cordon.",
  async run({ args: [verb = "", kind = "", name = ""], flags, session }) {
    const namespace = flags.everywhere ? "" : session.namespace;
    const { allowed, reason } = await authOf(session).checkAccess({ verb, kind: await kindWord(kind), namespace, name }, { signal: session.signal });
    session.out.line(allowed ? "yes" : "no");
    if (!allowed) throw new CommandFailed(reason);
  },
});

export const tokenCreate = command({
  path: ["auth", "token", "create"],
  summary: "Make a token for a program; it is shown once",
  args: ["<name>"],
  flags: {
    role: text("--role <role>", "the role that it has"),
    namespaces: text("--namespaces <namespaces>", 'where, such as "a,b" (default: everywhere)'),
    ttl: duration("--ttl <duration>", "how long it lives, at most 2160h", 30 * DAY_MS),
  },
  async run({ args: [name = ""], flags, session }) {
    if (flags.role === undefined) throw new UsageError("--role ROLE is required");
    const asked = { name, role: flags.role, namespaces: listOf(flags.namespaces), ttlSeconds: Math.ceil(flags.ttl / 1000) };
    const { token, serviceToken } = await mutate(session, (requestId, signal) =>
      authOf(session).createServiceToken({ ...asked, requestId, validateOnly: false }, { signal }));
    session.out.line(token);
    session.out.remark(`the subject is token/${name}, until ${serviceToken?.spec?.expireTime?.toISOString() ?? ""}; the token is not shown again`);
  },
});

export const tokenList = command({
  path: ["auth", "token", "list"],
  summary: "Show the tokens of programs, without their secrets",
  flags: {},
  async run({ session }) {
    const tokens = await allTokens(session);
    const now = session.clock.now();
    const rows = tokens.map(({ metadata, spec }) =>
      [metadata?.name ?? "", spec?.role ?? "", spec?.namespaces.join(",") || "(all)", spec?.expireTime?.toISOString() ?? "", age(metadata?.creationTimestamp, now)]);
    session.out.lines(tableLines(["NAME", "ROLE", "NAMESPACES", "EXPIRES", "AGE"], rows));
  },
});

async function allTokens(session: Session): Promise<ServiceToken[]> {
  const tokens: ServiceToken[] = [];
  for (let pageToken = ""; ; ) {
    const page = await authOf(session).listServiceTokens({ pageSize: PAGE_SIZE, pageToken }, { signal: session.signal });
    tokens.push(...page.serviceTokens);
    pageToken = page.nextPageToken;
    if (pageToken === "") return tokens;
  }
}

export const tokenRevoke = command({
  path: ["auth", "token", "revoke"],
  summary: "End a program's token at once",
  args: ["<name>"],
  flags: {},
  async run({ args: [name = ""], session }) {
    await mutate(session, (requestId, signal) => authOf(session).revokeServiceToken({ name, requestId, validateOnly: false }, { signal }));
    session.out.line(`token ${name} revoked`);
  },
});

export const certificate = command({
  path: ["auth", "certificate"],
  summary: "Make a key here and have a client certificate for it signed, for a user",
  args: ["<user>"],
  flags: {
    groups: text("--group <groups>", 'groups of the user, such as "ops,dev"'),
    directory: text("--out <directory>", "where USER.key, USER.pem and USER-ca.pem are written (default: here)"),
    ttl: duration("--ttl <duration>", "how long it lives, at most 24h", DAY_MS / 2),
  },
  more: "Then: drover login SERVER --cert USER.pem --key USER.key --ca USER-ca.pem. A certificate cannot be revoked, only waited out.",
  async run({ args: [user = ""], flags, session }) {
    const place = (end: string) => join(resolve(flags.directory ?? "."), `${user.replaceAll("/", "_")}${end}`);
    const [keyFile, certFile, caFile] = [place(".key"), place(".pem"), place("-ca.pem")];
    if (existsSync(keyFile)) throw new CommandFailed(`${keyFile} is there already: nothing was done`);
    const { newRequest } = await import("../../lib/pki/keys.ts");
    const { keyPem, csrPem } = await newRequest();
    const asked = { csrPem, user, groups: listOf(flags.groups), ttlSeconds: Math.ceil(flags.ttl / 1000) };
    const { certificatePem, caPem, expireTime } = await authOf(session).signUserCertificate(asked, { signal: session.signal });
    for (const [path, content] of [[keyFile, keyPem], [certFile, certificatePem], [caFile, caPem]] as const) writePrivate(path, content);
    session.out.line(`${certFile}, ${keyFile} and ${caFile} written, until ${expireTime?.toISOString() ?? ""}`);
  },
});
