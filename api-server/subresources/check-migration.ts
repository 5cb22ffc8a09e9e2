/** The answer to "could this machine move, and whereto": every check, the choice and the forecasts, from what was gathered. Pure. */
import type { CheckMigrationResponse, MigrationCandidate } from "../../gen/drover/v1/migration.ts";
import { CheckReason, CheckVerdict } from "../../gen/drover/v1/preflight.ts";
import type { Check, MigrationForecast } from "../../gen/drover/v1/preflight.ts";
import type { Candidate, Snapshot, Wanted } from "../../lib/preflight/candidate.ts";
import { candidateChecks, choose, explain } from "../../lib/preflight/choose.ts";
import { machineChecks } from "../../lib/preflight/machine.ts";
import type { MachineInput } from "../../lib/preflight/machine.ts";
import { scoreOf } from "../../lib/preflight/scores.ts";
import { mebibytes } from "../../lib/quantity.ts";

export type Gathered = {
  machine: MachineInput;
  snapshot: Snapshot;
  wanted: Wanted;
  forecast: (target: string) => MigrationForecast;
};

const SECOND_MS = 1_000;

export function checkMigration({ machine, snapshot, wanted, forecast }: Gathered): CheckMigrationResponse {
  const checks = machineChecks(machine);
  const asked = wanted.targetNode ? snapshot.filter(({ name }) => name === wanted.targetNode) : snapshot;
  const candidates = asked.map((candidate) => judged(candidate, wanted, forecast)).toSorted((a, b) => (a.node < b.node ? -1 : 1));
  const { chosen, message } = choice(checks, asked, wanted);
  return { checks, candidates, chosenNode: chosen, message, warnings: warningsOf(checks, candidates.find(({ node }) => node === chosen)) };
}

function judged(candidate: Candidate, wanted: Wanted, forecast: Gathered["forecast"]): MigrationCandidate {
  const checks = candidateChecks(candidate, wanted);
  if (isBlocked(checks)) return { node: candidate.name, verdict: CheckVerdict.BLOCK, checks, score: 0, forecast: undefined };
  const expected = forecast(candidate.name);
  const told = [...checks, convergence(expected)];
  return { node: candidate.name, verdict: worst(told), checks: told, score: scoreOf(candidate, wanted), forecast: expected };
}

function convergence({ converges, dirtyBytesPerSecond, bandwidthBytesPerSecond }: MigrationForecast): Check {
  const name = "convergence";
  if (converges) return { name, verdict: CheckVerdict.PASS, reason: CheckReason.UNSPECIFIED, message: "" };
  const message = `the guest changes ${mebibytes(dirtyBytesPerSecond)} in a second and ${mebibytes(bandwidthBytesPerSecond)} are sent in one: without help it may never end`;
  return { name, verdict: CheckVerdict.WARN, reason: CheckReason.DOES_NOT_CONVERGE, message };
}

/** A machine that cannot move has no target, whatever nodes there are; one that only has to queue has. */
function choice(checks: readonly Check[], asked: Snapshot, wanted: Wanted): { chosen: string; message: string } {
  const blocked = checks.filter(({ verdict }) => verdict === CheckVerdict.BLOCK);
  if (blocked.length > 0) return { chosen: "", message: blocked.map(({ message }) => message).join("; ") };
  if (asked.length === 0 && wanted.targetNode) return { chosen: "", message: `No node is named "${wanted.targetNode}"` };
  const now = choose(asked, wanted);
  const chosen = now.chosen ?? choose(asked, wanted, { patient: true }).chosen;
  return chosen ? { chosen: chosen.name, message: "" } : { chosen: "", message: explain(now.reasons) };
}

const isBlocked = (checks: readonly Check[]): boolean => checks.some(({ verdict }) => verdict === CheckVerdict.BLOCK);

function worst(checks: readonly Check[]): CheckVerdict {
  if (isBlocked(checks)) return CheckVerdict.BLOCK;
  return checks.some(({ verdict }) => verdict === CheckVerdict.WARN) ? CheckVerdict.WARN : CheckVerdict.PASS;
}

/** Of the machine and of the node that would be chosen; long standstills are worth a word that no check has. */
function warningsOf(checks: readonly Check[], chosen: MigrationCandidate | undefined): string[] {
  const warned = [...checks, ...(chosen?.checks ?? [])].filter(({ verdict }) => verdict === CheckVerdict.WARN).map(({ message }) => message);
  const downtimeMs = chosen?.forecast?.downtimeMs ?? 0;
  return [...warned, ...(downtimeMs >= SECOND_MS ? [`the guest is expected to stand still for ${(downtimeMs / SECOND_MS).toFixed(1)} s`] : [])];
}
