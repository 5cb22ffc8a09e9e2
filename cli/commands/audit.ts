/** `audit ...`: who did what and what was refused; taken away as JSON lines; looked through for tampering. */
import { AuditDecision, AuditFilter, AuditServiceDefinition } from "../../gen/drover/v1/audit.ts";
import type { AuditEntry, AuditMark } from "../../gen/drover/v1/audit.ts";
import { command, count, duration, text, toggle } from "../command.ts";
import { CommandFailed, UsageError } from "../failure.ts";
import { word } from "../kinds/kind.ts";
import { kindWord } from "../kinds/names.ts";
import type { Session } from "../session.ts";
import { tableLines } from "../table.ts";

const [ENTRIES_SHOWN, ENTRIES_MAX, PAGE_SIZE] = [100, 100_000, 500];
const MARK = /^(\d{1,15}):([0-9a-f]{64})$/;

const auditOf = ({ connection }: Session) => connection.client(AuditServiceDefinition);

const filters = {
  subject: text("--subject <subject>", 'only what this caller did, such as "user/alice"'),
  object: text("--object <kind/namespace/name>", 'only what was done to this, such as "vm/default/web" or "node/a"'),
  rpc: text("--rpc <name>", "only this call, such as StartVirtualMachine"),
  since: { ...duration("--since <duration>", "", 0), summary: "how far back, such as 1h (default: all that is kept)" },
  denied: toggle("--denied", "only what the caller may not do"),
  failed: toggle("--failed", "only what was not carried out for another reason"),
};
type Asked = { subject?: string | undefined; object?: string | undefined; rpc?: string | undefined; since: number; denied: boolean; failed: boolean };

export const auditList = command({
  path: ["audit"],
  summary: "Show who did what, and what was refused",
  flags: { ...filters, limit: count("--limit <number>", `how many of the latest (default ${ENTRIES_SHOWN})`, ENTRIES_MAX) },
  async run({ flags, session }) {
    const entries = await latest(session, await filterOf(flags, session), flags.limit ?? ENTRIES_SHOWN);
    // The latest stands where the eye is.
    const shown = entries.reverse();
    if (session.out.format === "json") return session.out.lines(shown.map(({ line }) => line));
    if (shown.length === 0) return session.out.remark("No entries found");
    return session.out.lines(tableLines(["TIME", "SUBJECT", "DECISION", "CALL", "OBJECT", "SOURCE", "WHY", "COUNT"], shown.map(cellsOf)));
  },
});

export const auditExport = command({
  path: ["audit", "export"],
  summary: "Write entries as JSON lines, the oldest first",
  flags: { ...filters, after: count("--after <number>", "only entries after this one", Number.MAX_SAFE_INTEGER) },
  more: "Each line holds, as \"previous\", the SHA-256 of the line before it, line end not included.",
  async run({ flags, session }) {
    const request = { filter: await filterOf(flags, session), afterSeq: flags.after ?? 0 };
    for await (const { auditEntries } of auditOf(session).exportAuditEntries(request, { signal: session.signal })) {
      session.out.lines(auditEntries.map(({ line }) => line));
    }
  },
});

export const auditVerify = command({
  path: ["audit", "verify"],
  summary: "Look through the audit for entries that were changed or removed; exit code 1 when there are any",
  flags: { noted: text("--noted <number:hash>", "a head that was noted earlier, such as from the server's log") },
  async run({ flags, session }) {
    const noted = flags.noted === undefined ? undefined : markOf(flags.noted);
    const { intact, fault, entries, head } = await auditOf(session).verifyAudit({ noted }, { signal: session.signal });
    session.out.line(`${entries} entries, head ${head?.seq ?? 0}:${head?.hash ?? ""}`);
    if (!intact) throw new CommandFailed(`the audit is not intact: ${fault}`);
    session.out.line("intact");
  },
});

async function filterOf({ subject, object, rpc, since, denied, failed }: Asked, { clock }: Session): Promise<AuditFilter> {
  const decisions = [...(denied ? [AuditDecision.DENIED] : []), ...(failed ? [AuditDecision.FAILED] : [])];
  return {
    ...AuditFilter.create(), ...(object === undefined ? {} : await objectOf(object)), subject: subject ?? "", rpc: rpc ?? "", decisions,
    fromTime: since === 0 ? undefined : new Date(clock.now().getTime() - since),
  };
}

async function objectOf(given: string): Promise<Pick<AuditFilter, "objectKind" | "objectNamespace" | "objectName">> {
  const parts = given.split("/");
  const [kind = "", ...rest] = parts;
  if (parts.includes("") || parts.length > 3) throw new UsageError('--object must be KIND, KIND/NAME or KIND/NAMESPACE/NAME, such as "vm/default/web"');
  const [objectName = "", objectNamespace = ""] = rest.reverse();
  return { objectKind: await kindWord(kind), objectNamespace, objectName };
}

function markOf(given: string): AuditMark {
  const [, seq, hash] = MARK.exec(given) ?? [];
  if (seq === undefined || hash === undefined) throw new UsageError('--noted must be "NUMBER:HASH", as verify prints it');
  return { seq: Number(seq), hash };
}

async function latest(session: Session, filter: AuditFilter, limit: number): Promise<AuditEntry[]> {
  const found: AuditEntry[] = [];
  for (let pageToken = ""; found.length < limit; ) {
    const page = await auditOf(session).listAuditEntries({ filter, pageSize: Math.min(PAGE_SIZE, limit - found.length), pageToken }, { signal: session.signal });
    found.push(...page.auditEntries);
    pageToken = page.nextPageToken;
    if (pageToken === "") break;
  }
  return found;
}

function cellsOf({ time, subject, decision, rpc, objectKind, objectNamespace, objectName, source, code, reason, count }: AuditEntry): string[] {
  const object = [objectKind, objectNamespace, objectName].filter(Boolean).join("/");
  const why = code === "OK" ? "" : `${code}${reason === "" || reason === code ? "" : ` ${reason}`}`;
  return [time?.toISOString() ?? "", subject, word(AuditDecision, decision), rpc.slice(rpc.lastIndexOf("/") + 1), object, source, why, String(count)];
}
