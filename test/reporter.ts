/**
 * Mocha's own report, with two things more: a skipped test fails the run unless DROVER_ALLOW_SKIP names it (a part of
 * its title), and the counts are appended to the file that DROVER_TEST_SUMMARY names.
 */
import { appendFileSync } from "node:fs";
import Mocha from "mocha";

export default class Reporter extends Mocha.reporters.Spec {
  readonly #skipped: string[] = [];

  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    runner.on("pending", (test) => this.#skipped.push(test.fullTitle()));
  }

  override done(failures: number, end: (failures: number) => void): void {
    const allowed = (process.env["DROVER_ALLOW_SKIP"] ?? "").split(",").filter(Boolean);
    const refused = this.#skipped.filter((title) => !allowed.some((part) => title.includes(part)));
    for (const title of refused) process.stderr.write(`Skipped without leave (DROVER_ALLOW_SKIP): ${title}\n`);
    const summary = process.env["DROVER_TEST_SUMMARY"];
    const counts = { passed: this.stats.passes, failed: failures, skipped: this.#skipped.length };
    if (summary) appendFileSync(summary, `${JSON.stringify(counts)}\n`);
    end(failures + refused.length);
  }
}
