/**
 * How a migration shall converge: its own settings over the policy that fits best over the fleet's defaults. The controller
 * freezes the answer into the record, and the API server shows it beforehand; both ask here. Pure.
 */
import type { MigrationPolicy } from "../gen/drover/v1/migration_policy.ts";
import type { VirtualMachineInstanceMigrationSpec } from "../gen/drover/v1/migration.ts";
import { MigrationOptions, MigrationTimeoutAction } from "../gen/drover/v1/virtual_machine_instance.ts";
import type { MigrationSettings } from "../gen/drover/v1/virtual_machine_instance.ts";
import { quantityBytes } from "./quantity.ts";

type Labels = Readonly<Record<string, string>>;
type Settled = { [K in Exclude<keyof MigrationSettings, "_unknownFields">]-?: NonNullable<MigrationSettings[K]> };
/** These two follow from others where nobody has set them. */
type Following = "allowWorkloadDisruption" | "timeoutAction";
export type MigrationDefaults = Omit<Settled, Following> & Partial<Pick<Settled, Following>>;

/** What a fleet has whose controller is configured to nothing else. */
export const MIGRATION_DEFAULTS: MigrationDefaults = {
  bandwidthPerMigration: "0",
  completionTimeoutPerGib: 150,
  allowAutoConverge: false,
  allowPostCopy: false,
  maxDowntimeMs: 900,
  downtimeSteps: 4,
  parallelConnections: 0,
  progressTimeoutSeconds: 40,
};

const SETTINGS = [
  "bandwidthPerMigration", "completionTimeoutPerGib", "allowAutoConverge", "allowPostCopy", "allowWorkloadDisruption", "maxDowntimeMs",
  "downtimeSteps", "parallelConnections", "timeoutAction", "progressTimeoutSeconds",
] as const satisfies readonly (keyof MigrationSettings)[];

export type PolicyQuestion = {
  policies: readonly MigrationPolicy[];
  namespaceLabels: Labels;
  /** Of the VirtualMachineInstance. */
  instanceLabels: Labels;
  spec: Pick<VirtualMachineInstanceMigrationSpec, "settings" | "bandwidthMibPerSecond" | "autoConverge">;
  /** Of the guest, with the disks that are copied. */
  bytes: number;
  /** How long the transfer is expected to take, where that is known: a limit for many migrations is never below twice that. */
  forecastMs?: number | undefined;
  defaults?: MigrationDefaults;
};

export type ResolvedPolicy = { policyName: string; why: string; options: MigrationOptions };

export function resolvePolicy({ policies, namespaceLabels, instanceLabels, spec, bytes, forecastMs, defaults = MIGRATION_DEFAULTS }: PolicyQuestion): ResolvedPolicy {
  const match = bestMatch(policies, { namespaceLabels, instanceLabels });
  const own = ownSettings(spec);
  const settled = derived({ ...defaults, ...present(match?.policy.spec), ...present(own) });
  const policyName = match?.policy.metadata?.name ?? "";
  const why = [reasonOf(match, policies.length), overridden(own), settled.remark].filter((part) => part !== "").join("; ");
  // Who sets a limit for one migration knows that one; what is set for many has to leave each the time that it needs.
  const expectedMs = own.completionTimeoutPerGib === undefined ? forecastMs : undefined;
  return { policyName, why, options: optionsOf(settled, { policyName, why, bytes, forecastMs: expectedMs }) };
}

export type Match = { policy: MigrationPolicy; namespaceLabels: number; instanceLabels: number };

/** The one that names most labels, then most of the machine's, then the first by name; undefined when none fits. */
export function bestMatch(policies: readonly MigrationPolicy[], labels: { namespaceLabels: Labels; instanceLabels: Labels }): Match | undefined {
  const matches = policies.flatMap((policy) => matchOf(policy, labels) ?? []);
  return matches.toSorted((a, b) => count(b) - count(a) || b.instanceLabels - a.instanceLabels || (nameOf(a) < nameOf(b) ? -1 : 1))[0];
}

const count = ({ namespaceLabels, instanceLabels }: Match): number => namespaceLabels + instanceLabels;
const nameOf = ({ policy }: Match): string => policy.metadata?.name ?? "";

function matchOf(policy: MigrationPolicy, { namespaceLabels, instanceLabels }: { namespaceLabels: Labels; instanceLabels: Labels }): Match | undefined {
  const { namespaceSelector = {}, virtualMachineInstanceSelector = {} } = policy.spec?.selectors ?? {};
  const match = {
    policy,
    namespaceLabels: Object.keys(namespaceSelector).length,
    instanceLabels: Object.keys(virtualMachineInstanceSelector).length,
  };
  const fits = has(namespaceLabels, namespaceSelector) && has(instanceLabels, virtualMachineInstanceSelector);
  // One that names nothing would be a second place for the fleet's defaults.
  return fits && count(match) > 0 && policy.metadata?.deletionTimestamp === undefined ? match : undefined;
}

const has = (labels: Labels, wanted: Labels): boolean =>
  Object.entries(wanted).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);

/** The two fields that are older than the settings say the same, where they say anything. */
function ownSettings({ settings, bandwidthMibPerSecond, autoConverge }: PolicyQuestion["spec"]): MigrationSettings {
  return {
    ...settings,
    ...(bandwidthMibPerSecond > 0 && { bandwidthPerMigration: `${bandwidthMibPerSecond}Mi` }),
    ...(autoConverge && { allowAutoConverge: true }),
  };
}

function present(settings: MigrationSettings | undefined): Partial<Settled> {
  return Object.fromEntries(SETTINGS.flatMap((key) => (settings?.[key] === undefined ? [] : [[key, settings[key]]])));
}

type Derived = Settled & { remark: string };

/** What follows from what: post-copy excludes parallel connections, and an action that is not allowed is not taken. */
function derived(settings: MigrationDefaults): Derived {
  const { allowPostCopy, parallelConnections, timeoutAction } = settings;
  const allowWorkloadDisruption = settings.allowWorkloadDisruption ?? allowPostCopy;
  const fallback = allowPostCopy ? MigrationTimeoutAction.POST_COPY : allowWorkloadDisruption ? MigrationTimeoutAction.PAUSE : MigrationTimeoutAction.ABORT;
  const refused = timeoutAction === MigrationTimeoutAction.POST_COPY ? !allowPostCopy : timeoutAction === MigrationTimeoutAction.PAUSE && settings.allowWorkloadDisruption === false;
  const single = allowPostCopy && parallelConnections > 0;
  const remarks = [
    ...(refused ? ["the action on timeout is not allowed, so that another one is taken"] : []),
    ...(single ? ["one connection, since post-copy is allowed"] : []),
  ];
  return {
    ...settings,
    allowWorkloadDisruption,
    parallelConnections: single ? 0 : parallelConnections,
    timeoutAction: timeoutAction === undefined || refused ? fallback : timeoutAction,
    remark: remarks.join("; "),
  };
}

function reasonOf(match: Match | undefined, policies: number): string {
  if (!match) return policies === 0 ? "there are no policies: the fleet's defaults" : "no policy fits: the fleet's defaults";
  const { namespaceLabels, instanceLabels } = match;
  return `policy "${nameOf(match)}" names most labels: ${instanceLabels} of the machine, ${namespaceLabels} of its namespace`;
}

function overridden(own: MigrationSettings): string {
  const given = Object.keys(present(own));
  return given.length === 0 ? "" : `the migration itself sets ${given.join(", ")}`;
}

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const FORECAST_FACTOR = 2;

function optionsOf(settled: Derived, { policyName, why, bytes, forecastMs = 0 }: { policyName: string; why: string; bytes: number; forecastMs: number | undefined }): MigrationOptions {
  const byMemory = settled.completionTimeoutPerGib * Math.max(1, Math.ceil(bytes / GIB));
  const byForecast = Math.ceil((FORECAST_FACTOR * forecastMs) / 1000);
  return MigrationOptions.create({
    policyName,
    why,
    bandwidthMibPerSecond: Math.floor(quantityBytes(settled.bandwidthPerMigration) / MIB),
    autoConverge: settled.allowAutoConverge,
    postCopy: settled.allowPostCopy,
    completionTimeoutSeconds: byMemory === 0 ? 0 : Math.max(byMemory, byForecast),
    progressTimeoutSeconds: settled.progressTimeoutSeconds,
    maxDowntimeMs: settled.maxDowntimeMs,
    downtimeSteps: settled.downtimeSteps,
    parallelConnections: settled.parallelConnections,
    timeoutAction: settled.timeoutAction,
  });
}
