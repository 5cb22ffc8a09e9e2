/**
 * Writes constants.ts from libvirt's own API description, so that no number is ever copied by hand. Run it where the
 * package libvirt-dev is installed:
 *   node node-agent/libvirt/generate-constants.ts /usr/share/libvirt/api/libvirt-api.xml > node-agent/libvirt/constants.ts
 */
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";
import { XMLParser } from "fast-xml-parser";

type Entry = { name: string; value: string; type: string };

/** Enumerations that turn a name into a number, with the prefix that the names lose. */
const NUMBERS = {
  errorCode: ["virErrorNumber", "VIR_ERR_"],
  migrateFlag: ["virDomainMigrateFlags", "VIR_MIGRATE_"],
  abortJobFlag: ["virDomainAbortJobFlagsValues", "VIR_DOMAIN_ABORT_JOB_"],
  undefineFlag: ["virDomainUndefineFlagsValues", "VIR_DOMAIN_UNDEFINE_"],
  xmlFlag: ["virDomainXMLFlags", "VIR_DOMAIN_XML_"],
  affectFlag: ["virDomainModificationImpact", "VIR_DOMAIN_AFFECT_"],
  listNetworksFlag: ["virConnectListAllNetworksFlags", "VIR_CONNECT_LIST_NETWORKS_"],
  compareCpuFlag: ["virConnectCompareCPUFlags", "VIR_CONNECT_COMPARE_CPU_"],
  statsGroup: ["virDomainStatsTypes", "VIR_DOMAIN_STATS_"],
  dirtyRateStatus: ["virDomainDirtyRateStatus", "VIR_DOMAIN_DIRTYRATE_"],
  metadataType: ["virDomainMetadataType", "VIR_DOMAIN_METADATA_"],
  parameterType: ["virTypedParameterType", "VIR_TYPED_PARAM_"],
  eventId: ["virDomainEventID", "VIR_DOMAIN_EVENT_ID_"],
  jobType: ["virDomainJobType", "VIR_DOMAIN_JOB_"],
  jobOperation: ["virDomainJobOperation", "VIR_DOMAIN_JOB_OPERATION_"],
  definedDetail: ["virDomainEventDefinedDetailType", "VIR_DOMAIN_EVENT_DEFINED_"],
  startedDetail: ["virDomainEventStartedDetailType", "VIR_DOMAIN_EVENT_STARTED_"],
  suspendedDetail: ["virDomainEventSuspendedDetailType", "VIR_DOMAIN_EVENT_SUSPENDED_"],
  resumedDetail: ["virDomainEventResumedDetailType", "VIR_DOMAIN_EVENT_RESUMED_"],
  streamFlag: ["virStreamFlags", "VIR_STREAM_"],
  streamEvent: ["virStreamEventType", "VIR_STREAM_EVENT_"],
  consoleFlag: ["virDomainConsoleFlags", "VIR_DOMAIN_CONSOLE_"],
  agentState: [
    "virConnectDomainEventAgentLifecycleState",
    "VIR_CONNECT_DOMAIN_EVENT_AGENT_LIFECYCLE_STATE_",
  ],
} as const satisfies Record<string, readonly [string, string]>;

/** Enumerations that turn a number into a word, by position. */
const WORDS = {
  stateNames: ["virDomainState", "VIR_DOMAIN_"],
  lifecycleNames: ["virDomainEventType", "VIR_DOMAIN_EVENT_"],
  closeReasonNames: ["virConnectCloseReason", "VIR_CONNECT_CLOSE_REASON_"],
} as const satisfies Record<string, readonly [string, string]>;

/** The reasons of each state, in the order of the states' own numbers. */
const REASONS = [
  ["virDomainNostateReason", "VIR_DOMAIN_NOSTATE_"],
  ["virDomainRunningReason", "VIR_DOMAIN_RUNNING_"],
  ["virDomainBlockedReason", "VIR_DOMAIN_BLOCKED_"],
  ["virDomainPausedReason", "VIR_DOMAIN_PAUSED_"],
  ["virDomainShutdownReason", "VIR_DOMAIN_SHUTDOWN_"],
  ["virDomainShutoffReason", "VIR_DOMAIN_SHUTOFF_"],
  ["virDomainCrashedReason", "VIR_DOMAIN_CRASHED_"],
  ["virDomainPMSuspendedReason", "VIR_DOMAIN_PMSUSPENDED_"],
] as const;

/** Macros that name typed parameters. */
const STRINGS = {
  migrateParameter: "VIR_MIGRATE_PARAM_",
  jobField: "VIR_DOMAIN_JOB_",
} as const;

const LINE_LENGTH = 140;

type Description = { enums: Entry[]; macros: { name: string; string?: string }[] };

function read(path: string): Description {
  const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: "", isArray: (name) => name === "enum" || name === "macro" });
  const { api } = parser.parse(readFileSync(path, "utf8")) as {
    api: { symbols: { enum: Entry[]; macro: Description["macros"] } };
  };
  return { enums: api.symbols.enum, macros: api.symbols.macro };
}

/** The entries of one enumeration; the sentinel `_LAST` counts the others and means nothing to us. */
function entries({ enums }: Description, type: string, prefix: string): { name: string; value: number }[] {
  const found = enums
    .filter((entry) => entry.type === type && entry.name.startsWith(prefix) && !entry.name.endsWith("_LAST"))
    .map((entry) => ({ name: entry.name.slice(prefix.length), value: Number(entry.value) }))
    .sort((one, other) => one.value - other.value);
  if (found.length === 0 || found.some(({ value }) => !Number.isInteger(value))) {
    throw new Error(`Cannot read enumeration ${type}: it is absent or has values that are no plain numbers`);
  }
  return found;
}

/** On one line where it fits. */
function table(name: string, rows: readonly string[]): string[] {
  const line = `export const ${name} = { ${rows.join(", ")} } as const;`;
  return line.length <= LINE_LENGTH ? [line] : [`export const ${name} = {`, ...rows.map((row) => `  ${row},`), "} as const;"];
}

const word = (name: string) => name.toLowerCase().replaceAll("_", "-");

/** Words by position; a hole in the numbering would shift every later word, so it is refused. */
function words(description: Description, type: string, prefix: string): string {
  const list = entries(description, type, prefix);
  if (list.some(({ value }, position) => value !== position)) throw new Error(`Cannot list ${type}: it has holes`);
  return `[${list.map(({ name }) => JSON.stringify(word(name))).join(", ")}]`;
}

export function generate(description: Description): string {
  const lines = [
    "/**",
    " * libvirt's numbers and names. Generated by generate-constants.ts from libvirt's API description: change that, not this.",
    " */",
    "",
  ];
  for (const [name, [type, prefix]] of Object.entries(NUMBERS)) {
    const rows = entries(description, type, prefix).map((entry) => `${entry.name}: ${entry.value}`);
    lines.push(`/** ${type} */`, ...table(name, rows), "");
  }
  for (const [name, [type, prefix]] of Object.entries(WORDS)) {
    lines.push(`/** ${type}, by number. */`, `export const ${name} = ${words(description, type, prefix)} as const;`, "");
  }
  const reasons = REASONS.map(([type, prefix]) => `  ${words(description, type, prefix)},`);
  lines.push("/** The reasons of each virDomainState, by its number and theirs. */", "export const reasonNames = [", ...reasons, "] as const;", "");
  for (const [name, prefix] of Object.entries(STRINGS)) {
    const rows = description.macros
      .filter((macro) => macro.name.startsWith(prefix) && macro.string !== undefined)
      .map((macro) => `  ${macro.name.slice(prefix.length)}: ${JSON.stringify(macro.string)},`);
    lines.push(`/** ${prefix}*: names of typed parameters. */`, `export const ${name} = {`, ...rows, "} as const;", "");
  }
  return lines.join("\n");
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? "").href) {
  const [path] = process.argv.slice(2);
  if (path === undefined) throw new Error("Cannot generate without the path of libvirt-api.xml");
  process.stdout.write(generate(read(path)));
}
