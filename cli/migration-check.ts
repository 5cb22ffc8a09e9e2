/** How a check before a move is told: a table of the nodes, and the same as data. Pure. */
import type { CheckMigrationResponse, MigrationCandidate } from "../gen/drover/v1/migration.ts";
import { CheckReason, CheckVerdict, ForecastBasis } from "../gen/drover/v1/preflight.ts";
import type { Check, MigrationForecast } from "../gen/drover/v1/preflight.ts";
import { formatBytes } from "../lib/quantity.ts";
import { word } from "./kinds/kind.ts";
import { tableLines } from "./table.ts";
import { visible } from "./visible.ts";

const TITLES = ["NODE", "VERDICT", "CHECK", "REASON", "FORECAST"];
/** Where the machine's own checks stand. */
const MACHINE = "(the machine)";

/** A row for each check that did not pass; a node without one has a row that says so. */
export function checkLines(name: string, { checks, candidates, chosenNode, message, warnings }: CheckMigrationResponse): string[] {
  const own = notPassed(checks).map((check) => [MACHINE, verdictWord(check.verdict), check.name, told(check), ""]);
  const rows = [...own, ...candidates.flatMap(candidateRows)];
  const last = chosenNode === "" ? `${name} cannot be moved: ${message}` : `${name} can be moved to ${chosenNode}`;
  return [...tableLines(TITLES, rows), "", visible(last), ...warnings.map((warning) => visible(`  but: ${warning}`))];
}

function candidateRows({ node, verdict, checks, forecast }: MigrationCandidate): string[][] {
  const found = notPassed(checks);
  const [first, ...rest] = found.length > 0 ? found.map((check) => [check.name, told(check)]) : [["", ""]];
  return [[node, verdictWord(verdict), ...first!, forecastText(forecast)], ...rest.map((cells) => ["", "", ...cells, ""])];
}

const notPassed = (checks: readonly Check[]): Check[] => checks.filter(({ verdict }) => verdict !== CheckVerdict.PASS);
const verdictWord = (verdict: CheckVerdict): string => word(CheckVerdict, verdict).toLowerCase();
const told = ({ reason, message }: Check): string => `${word(CheckReason, reason)}: ${message}`;

/** "1.4 s, standing still 230 ms, 92Mi (measured)". */
export function forecastText(forecast: MigrationForecast | undefined): string {
  if (!forecast) return "";
  const { durationMs, downtimeMs, bytes, converges, basis } = forecast;
  const basisWord = word(ForecastBasis, basis).toLowerCase();
  if (!converges) return `may never end (${basisWord})`;
  return `${(durationMs / 1000).toFixed(1)} s, standing still ${downtimeMs} ms, ${formatBytes(bytes)} (${basisWord})`;
}

export function checkData({ checks, candidates, ...rest }: CheckMigrationResponse) {
  const plain = ({ name, verdict, reason, message }: Check) => ({ name, verdict: word(CheckVerdict, verdict), reason: word(CheckReason, reason), message });
  return {
    ...rest,
    checks: checks.map(plain),
    candidates: candidates.map(({ node, verdict, score, forecast, ...candidate }) => ({
      node,
      verdict: word(CheckVerdict, verdict),
      score,
      ...(forecast && { forecast: { ...forecast, basis: word(ForecastBasis, forecast.basis) } }),
      checks: candidate.checks.map(plain),
    })),
  };
}
