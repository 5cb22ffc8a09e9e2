/** What a migration's own record is to say after a step: phase, reason, whose word is waited for. Pure. */
import { MigrationOutcome, MigrationPhase, MigrationReason } from "../../gen/drover/v1/migration.ts";
import { MigrationSourceState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { errorOf, figuresOf } from "../../lib/forecast-history.ts";
import { explain } from "../../lib/preflight/choose.ts";
import { conditionOf } from "../conditions.ts";
import { isSilent } from "../node/liveness.ts";
import type { Migration } from "../objects.ts";
import type { Evidence } from "./facts.ts";
import type { Step } from "./phases.ts";
import { shownPlace } from "./queue.ts";
import type { Hold } from "./queue.ts";
import { revoked } from "./record.ts";
import { hasEnded, told } from "./story.ts";

type Status = Migration["status"];
export type Teller = { seen: (migration: Migration, phase: MigrationPhase) => Date | undefined; now: Date };

export function tell(migration: Migration, { evidence: known, step, observed }: { evidence: Evidence; step: Step; observed: Teller }): Migration {
  const { status } = migration;
  const evidence = { ...known, place: shownPlace(known.place, status.queuePosition) };
  const stays = evidence.place === status.queuePosition;
  const { grant, instance, target } = evidence;
  const waitingFor = step.to === MigrationPhase.RUNNING ? whoseWord(evidence) : [];
  const ended = hasEnded(step.to);
  return told(migration, {
    phase: step.to,
    seen: (phase) => observed.seen(migration, phase),
    now: observed.now,
    reason: step.reason,
    message: messageOf(step, evidence),
    sourceNode: grant?.sourceNode || status.sourceNode || instance?.status.nodeName || "",
    targetNode: grant?.targetNode || status.targetNode || (step.move === "admit" ? (target?.chosen?.name ?? "") : ""),
    ...(step.to === MigrationPhase.PENDING && { queuePosition: evidence.place, expectedStartTime: stays ? status.expectedStartTime : known.expectedStart() }),
    outcome: waitingFor.length > 0 ? MigrationOutcome.UNKNOWN : MigrationOutcome.UNSPECIFIED,
    waitingFor,
    options: grant?.options ?? (step.move === "admit" ? known.options() : status.options),
    mode: grant?.source?.mode || status.mode,
    progress: (ended ? grant?.source?.progress : undefined) ?? status.progress,
    finalEpoch: ended ? finalEpoch(step, evidence) : 0,
    ...reckoned(step, evidence),
  });
}

/** Forecast once, when it is admitted, and never again, so that it can be held against what came. */
function reckoned({ to }: Step, { grant, migration: { status }, forecast }: Evidence): Pick<Status, "forecast" | "figures" | "forecastError"> {
  const made = status.forecast ?? (grant ? forecast() : undefined);
  const figures = to === MigrationPhase.SUCCEEDED ? figuresOf(grant?.source?.progress ?? status.progress) : undefined;
  return { forecast: made, figures, forecastError: errorOf(made, figures) };
}

function finalEpoch({ move }: Step, { instance, grant, migration }: Evidence): number {
  if (!instance) return migration.status.finalEpoch;
  return move === "revoke" && grant ? revoked(instance, grant).status.epoch : instance.status.epoch;
}

const FULL: Record<Hold, string> = {
  "the fleet": "as many move in the fleet as may at once",
  "its node": "as many leave its node as may at once",
  "the target": "as many come to the target as may at once",
  "a link": "those under way have all that a node's link may be given",
};

type Said = (evidence: Evidence) => string | undefined;

const sayings: Partial<Record<MigrationReason, Said>> = {
  // Told anew with the place alone: which limit it is changes with everyone that comes and goes.
  [MigrationReason.QUEUED]: ({ place, hold, migration: { status } }) =>
    place === status.queuePosition && status.message !== "" ? status.message : `waits for a slot at place ${place}${hold ? `: ${FULL[hold]}` : ""}`,
  [MigrationReason.NO_TARGET]: ({ target }) => explain(target?.reasons ?? {}),
  [MigrationReason.TARGET_REFUSED]: ({ grant }) => grant?.target?.message,
  [MigrationReason.TRANSFER_FAILED]: ({ grant }) => grant?.source?.message,
  [MigrationReason.GUEST_LOST]: ({ grant }) => grant?.source?.message || grant?.target?.message,
  [MigrationReason.NOT_CONVERGING]: ({ grant }) => grant?.source?.gaveUp,
  [MigrationReason.POST_COPY_BROKEN]: ({ grant }) => `attempt ${grant?.source?.standstill?.attempts ?? 0} to go on: ${grant?.source?.standstill?.message ?? ""}`,
  [MigrationReason.CANCELLED]: () => "the machine stayed, as it was asked for",
  [MigrationReason.MACHINE_STOPPING]: () => "the machine is being stopped or deleted",
  [MigrationReason.NOT_MIGRATABLE]: ({ instance }) => conditionOf(instance?.status.conditions ?? [], "LiveMigratable")?.message,
};

function messageOf({ reason, to }: Step, evidence: Evidence): string {
  if (to === MigrationPhase.SUCCEEDED) return evidence.instance ? `runs on node ${evidence.instance.status.nodeName}` : "";
  return sayings[reason]?.(evidence) ?? "";
}

/** Whose word would end it, of those who cannot speak at the moment. */
function whoseWord({ grant, node }: Evidence): string[] {
  if (!grant) return [];
  const sourceOver = grant.source?.state === MigrationSourceState.LEFT || grant.source?.state === MigrationSourceState.ENDED;
  const sourceSilent = !sourceOver && isSilent(node(grant.sourceNode));
  const targetNeeded = sourceOver || sourceSilent;
  const { standstill } = sourceOver ? {} : (grant.source ?? {});
  const broken = standstill?.postCopyBroken ?? false;
  return [
    ...(standstill && !broken ? [`node/${grant.targetNode}: the guest stands still at the source until it is known that nothing of it is there`] : []),
    ...(broken ? [`node/${grant.sourceNode}: post-copy broke, and either host has a half of the guest until the two are joined again`] : []),
    ...(sourceSilent ? [`node/${grant.sourceNode}: it does not answer, and has not said how the transfer ended`] : []),
    ...(targetNeeded && isSilent(node(grant.targetNode)) ? [`node/${grant.targetNode}: it does not answer, and the guest may run there`] : []),
  ];
}
