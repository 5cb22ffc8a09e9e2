import assert from "node:assert/strict";
import type { CheckMigrationResponse } from "../../../gen/drover/v1/migration.ts";
import { CheckReason, CheckVerdict, ForecastBasis, MigrationForecast } from "../../../gen/drover/v1/preflight.ts";
import { checkData, checkLines, forecastText } from "../../../cli/migration-check.ts";

const MIB = 1024 ** 2;
const pass = (name: string) => ({ name, verdict: CheckVerdict.PASS, reason: CheckReason.UNSPECIFIED, message: "" });
const forecast = MigrationForecast.create({ durationMs: 1_420, downtimeMs: 240, bytes: 96 * MIB, converges: true, basis: ForecastBasis.MEASURED });
const answer: CheckMigrationResponse = {
  checks: [pass("running")],
  candidates: [
    { node: "a", verdict: CheckVerdict.BLOCK, score: 0, forecast: undefined, checks: [{ name: "source", verdict: CheckVerdict.BLOCK, reason: CheckReason.IS_SOURCE, message: "the machine runs on it already" }] },
    {
      node: "b", verdict: CheckVerdict.WARN, score: 1.5, forecast, checks: [
        pass("cordon"),
        { name: "cpu", verdict: CheckVerdict.WARN, reason: CheckReason.NOT_KNOWN, message: "not known: no answer" },
        { name: "reach", verdict: CheckVerdict.WARN, reason: CheckReason.NOT_KNOWN, message: "not known: a \u001b[31mfirewall" },
      ],
    },
  ],
  chosenNode: "b", message: "", warnings: ["not known: no answer"],
};

describe("a check before a move, told", () => {
  it("has a row for each thing in the way, and a last line that says whereto", () => {
    const lines = checkLines("web", answer);
    assert.match(lines[0]!, /^NODE +VERDICT +CHECK +REASON +FORECAST/);
    assert.match(lines[1]!, /^a +block +source +IsSource: the machine runs on it already/);
    assert.match(lines[2]!, /^b +warn +cpu +NotKnown: not known: no answer +1\.4 s, standing still 240 ms, 96Mi \(measured\)/);
    assert.match(lines[3]!, /^ +reach /);
    assert.ok(!lines.join("").includes("\u001b"), "nothing from outside reaches the terminal raw");
    assert.deepEqual(lines.slice(5), ["web can be moved to b", "  but: not known: no answer"]);
  });

  it("says why there is no target, and what the machine itself has against it", () => {
    const running = { name: "running", verdict: CheckVerdict.BLOCK, reason: CheckReason.NOT_RUNNING, message: "The machine does not run" };
    const lines = checkLines("web", { ...answer, checks: [running], candidates: [], chosenNode: "", message: running.message, warnings: [] });
    assert.match(lines[1]!, /^\(the machine\) +block +running +NotRunning: The machine does not run/);
    assert.equal(lines.at(-1), "web cannot be moved: The machine does not run");
  });

  it("says of a guest that runs away from every round that it may never end", () => {
    assert.equal(forecastText({ ...forecast, converges: false }), "may never end (measured)");
    assert.equal(forecastText(undefined), "");
  });

  it("is data with words in place of numbers", () => {
    const { candidates, chosenNode } = checkData(answer);
    assert.deepEqual([chosenNode, candidates[1]!.verdict, candidates[1]!.forecast!.basis, candidates[1]!.checks[1]!.reason], ["b", "Warn", "Measured", "NotKnown"]);
    assert.equal(candidates[0]!.forecast, undefined);
  });
});
