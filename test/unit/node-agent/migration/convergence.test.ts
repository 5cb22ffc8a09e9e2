/** Convergence on virtual time: when the downtime is raised, what counts as a stall, what is done then; and that it always ends. */
import assert from "node:assert/strict";
import * as fc from "fast-check";
import { MigrationMode, MigrationOptions, MigrationTimeoutAction } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import { converge, DOWNTIME_FIRST_MS, sampleOf } from "../../../../node-agent/migration/convergence.ts";
import type { Convergence, Sample, Step } from "../../../../node-agent/migration/convergence.ts";

const { PRE_COPY, POST_COPY, PAUSED } = MigrationMode;
const { ABORT, PAUSE } = MigrationTimeoutAction;
const MIB = 1024 * 1024;

const options = (given: Partial<MigrationOptions> = {}): MigrationOptions =>
  ({ ...MigrationOptions.create({ completionTimeoutSeconds: 150, progressTimeoutSeconds: 40, maxDowntimeMs: 900, downtimeSteps: 4, timeoutAction: ABORT }), ...given });

/** A transfer at a bandwidth, of a guest that makes memory dirty again. Rounds as QEMU makes them. */
class Transfer {
  elapsedMs = 0;
  iteration = 1;
  processed = 0;
  throttle = 0;
  round: number;
  remaining: number;
  readonly #bandwidth: number;
  readonly #dirty: () => number;

  constructor({ total, bandwidth, dirty }: { total: number; bandwidth: number; dirty: () => number }) {
    this.round = this.remaining = total;
    this.#bandwidth = bandwidth;
    this.#dirty = dirty;
  }

  second(): Sample {
    this.elapsedMs += 1_000;
    const sent = Math.min(this.remaining, this.#bandwidth);
    this.processed += sent;
    this.remaining -= sent;
    if (this.remaining === 0) {
      this.iteration += 1;
      this.round = this.remaining = this.#dirty();
    }
    return {
      elapsedMs: this.elapsedMs, iteration: this.iteration, processedBytes: this.processed, remainingBytes: this.remaining,
      bytesPerSecond: this.#bandwidth, throttlePercent: this.throttle,
    };
  }
}

type Run = { transfer: Transfer; options: MigrationOptions; seconds: number; mode?: MigrationMode; every?: (transfer: Transfer) => void };

/** Each step that is no "go-on", with the second at which it came; ends with the first that is final. */
function run({ transfer, options: given, seconds, mode = PRE_COPY, every }: Run): [number, Step][] {
  const steps: [number, Step][] = [];
  let before: Convergence | undefined;
  for (let second = 1; second <= seconds; second += 1) {
    every?.(transfer);
    const { after, step } = converge({ before, sample: transfer.second(), mode, options: given });
    before = after;
    if (step.do !== "go-on") steps.push([second, step]);
    if (step.do !== "go-on" && step.do !== "set-downtime") return steps;
  }
  return steps;
}

const stuck = () => new Transfer({ total: 128 * MIB, bandwidth: 32 * MIB, dirty: () => 48 * MIB });
const raised = (steps: [number, Step][]) => steps.flatMap(([, step]) => (step.do === "set-downtime" ? [step.milliseconds] : []));
const last = (steps: [number, Step][]) => steps.at(-1)?.[1];

describe("the convergence of a transfer", () => {
  it("leaves alone what converges", () => {
    let dirty = 64 * MIB;
    const transfer = new Transfer({ total: 1024 * MIB, bandwidth: 32 * MIB, dirty: () => (dirty /= 2) });
    assert.deepEqual(run({ transfer, options: options({ maxDowntimeMs: 300 }), seconds: 60 }), []);
  });

  it("raises the downtime step by step, ten seconds apart, up to its maximum and no further", () => {
    const steps = run({ transfer: stuck(), options: options({ progressTimeoutSeconds: 0, completionTimeoutSeconds: 100 }), seconds: 99 });
    assert.deepEqual(raised(steps), [450, 600, 750, 900]);
    const times = steps.map(([second]) => second);
    for (const [i, time] of times.entries()) if (i > 0) assert.ok(time - times[i - 1]! >= 10);
  });

  it("goes at once to the step that what is left needs", () => {
    const transfer = new Transfer({ total: 128 * MIB, bandwidth: 32 * MIB, dirty: () => 32 * MIB * 0.7 });
    assert.deepEqual(raised(run({ transfer, options: options({ progressTimeoutSeconds: 0 }), seconds: 60 })), [750, 900]);
  });

  it("lowers it first where less is allowed than QEMU takes by itself", () => {
    assert.deepEqual(raised(run({ transfer: stuck(), options: options({ maxDowntimeMs: 50 }), seconds: 30 })), [50]);
  });

  const actions: [Partial<MigrationOptions>, Step["do"]][] = [
    [{ timeoutAction: ABORT }, "give-up"],
    [{ timeoutAction: PAUSE }, "pause"],
    [{ timeoutAction: MigrationTimeoutAction.POST_COPY, postCopy: true }, "post-copy"],
    [{ timeoutAction: MigrationTimeoutAction.POST_COPY, postCopy: false }, "give-up"],
    [{ timeoutAction: MigrationTimeoutAction.UNSPECIFIED }, "give-up"],
  ];
  for (const [given, expected] of actions) {
    it(`ends a stall and a limit by ${JSON.stringify(given)}: ${expected}`, () => {
      assert.equal(last(run({ transfer: stuck(), options: options({ ...given, completionTimeoutSeconds: 0 }), seconds: 1_000 }))?.do, expected);
      const limited = run({ transfer: stuck(), options: options({ ...given, progressTimeoutSeconds: 0 }), seconds: 1_000 });
      assert.deepEqual([limited.at(-1)![0], limited.at(-1)![1].do], [150, expected]);
    });
  }

  it("says what was wrong, in figures", () => {
    const step = last(run({ transfer: stuck(), options: options({ completionTimeoutSeconds: 0 }), seconds: 1_000 }));
    assert.match(step && "why" in step ? step.why : "", /^no less was left in 40 s: \d+\.\d MiB left in round \d+ at 32\.0 MiB\/s$/);
  });

  it("takes a first round for progress however long it lasts", () => {
    const transfer = new Transfer({ total: 64 * 1024 * MIB, bandwidth: 32 * MIB, dirty: () => 0 });
    assert.deepEqual(run({ transfer, options: options({ completionTimeoutSeconds: 0 }), seconds: 2_000 }), []);
  });

  it("takes it for a stall when nothing is sent, in the first round too", () => {
    const transfer = new Transfer({ total: 128 * MIB, bandwidth: 0, dirty: () => 0 });
    const steps = run({ transfer, options: options(), seconds: 100 });
    assert.match(JSON.stringify(steps.at(-1)), /nothing was sent for 40 s/);
    assert.equal(steps.at(-1)![0], 41);
  });

  it("waits while the guest is slowed down more and more", () => {
    const every = (transfer: Transfer) => {
      if (transfer.elapsedMs % 20_000 === 0) transfer.throttle = Math.min(99, transfer.throttle + 10);
    };
    const steps = run({ transfer: stuck(), options: options({ completionTimeoutSeconds: 0, maxDowntimeMs: 300 }), seconds: 1_000, every });
    // Ten steps of the throttle, and the window after the last one.
    assert.ok(steps.at(-1)![0] >= 200 && steps.at(-1)![0] < 300, JSON.stringify(steps.at(-1)));
  });

  it("gives a paused guest as long again, and no action but the last", () => {
    const transfer = new Transfer({ total: 10_000 * MIB, bandwidth: MIB, dirty: () => 0 });
    const steps = run({ transfer, options: options({ timeoutAction: PAUSE }), seconds: 1_000, mode: PAUSED });
    assert.deepEqual(steps.map(([second, step]) => [second, step.do]), [[151, "give-up"]]);
  });

  it("gives up on a paused guest of which nothing moves", () => {
    const transfer = new Transfer({ total: MIB, bandwidth: 0, dirty: () => 0 });
    const steps = run({ transfer, options: options({ completionTimeoutSeconds: 0, timeoutAction: PAUSE }), seconds: 1_000, mode: PAUSED });
    assert.match(JSON.stringify(steps), /nothing was sent for 40 s although the guest stood still/);
  });

  it("holds disks that are copied before any memory to the same limit, and to be sent at all", () => {
    const disks = (elapsedMs: number, diskProcessedBytes: number) =>
      sampleOf({ kind: "migration-out", elapsedMs, diskTotalBytes: 1000 * MIB, diskProcessedBytes, diskRemainingBytes: 1000 * MIB - diskProcessedBytes })!;
    const steps = (sent: (second: number) => number) => {
      let before: Convergence | undefined;
      for (let second = 1; second <= 200; second += 1) {
        const { after, step } = converge({ before, sample: disks(second * 1_000, sent(second)), mode: PRE_COPY, options: options() });
        before = after;
        if (step.do !== "go-on") return [second, step.do];
      }
      return [];
    };
    assert.deepEqual(steps((second) => second * MIB), [150, "give-up"]);
    assert.deepEqual(steps(() => MIB), [41, "give-up"]);
  });

  it("reads no sample from a job at its beginning or end", () => {
    assert.equal(sampleOf({ kind: "migration-out", elapsedMs: 5 }), undefined);
    assert.equal(sampleOf({ kind: "migration-out", elapsedMs: 5, memoryTotalBytes: 0, memoryRemainingBytes: 0, diskTotalBytes: 0 }), undefined, "one that is being aborted");
    assert.equal(sampleOf({ kind: "migration-out", elapsedMs: 5, memoryTotalBytes: 1, memoryRemainingBytes: 3, diskRemainingBytes: 4 })?.remainingBytes, 7);
  });
});

type Change = Omit<Sample, "elapsedMs" | "iteration" | "processedBytes"> & { sinceMs: number; newRound: boolean; sent: number };

describe("the convergence of any transfer", () => {
  const anyOptions = fc.record({
    completionTimeoutSeconds: fc.constantFrom(0, 10, 150), progressTimeoutSeconds: fc.constantFrom(0, 5, 40), maxDowntimeMs: fc.integer({ min: 1, max: 5_000 }),
    downtimeSteps: fc.integer({ min: 1, max: 10 }), timeoutAction: fc.constantFrom(ABORT, PAUSE, MigrationTimeoutAction.POST_COPY), postCopy: fc.boolean(),
  });
  const anySample = fc.record({
    sinceMs: fc.integer({ min: 0, max: 5_000 }), newRound: fc.boolean(), sent: fc.nat(64 * MIB), remainingBytes: fc.nat(1024 * MIB),
    bytesPerSecond: fc.nat(128 * MIB), throttlePercent: fc.nat(99),
  });

  function walk(given: Partial<MigrationOptions>, samples: readonly Change[], mode: MigrationMode): Step[] {
    const [steps, chosen]: [Step[], MigrationOptions] = [[], options(given)];
    let before: Convergence | undefined;
    let [elapsedMs, iteration, processedBytes] = [0, 1, 0];
    for (const { sinceMs, newRound, sent, ...rest } of samples) {
      [elapsedMs, iteration, processedBytes] = [elapsedMs + sinceMs, iteration + (newRound ? 1 : 0), processedBytes + sent];
      const { after, step } = converge({ before, mode, options: chosen, sample: { ...rest, elapsedMs, iteration, processedBytes } });
      before = after;
      steps.push(step);
    }
    return steps;
  }

  it("never allows more downtime than its maximum, and never less than before", () =>
    fc.assert(fc.property(anyOptions, fc.array(anySample, { maxLength: 80 }), (given, samples) => {
      const limits = walk(given, samples, PRE_COPY).flatMap((step) => (step.do === "set-downtime" ? [step.milliseconds] : []));
      for (const [i, limit] of limits.entries()) assert.ok(limit <= given.maxDowntimeMs && (i === 0 || limit > limits[i - 1]!), limits.join(", "));
      if (given.maxDowntimeMs === DOWNTIME_FIRST_MS) assert.deepEqual(limits, []);
    })));

  it("asks for nothing in post-copy, whatever it sees", () =>
    fc.assert(fc.property(anyOptions, fc.array(anySample, { maxLength: 80 }), (given, samples) => {
      for (const step of walk(given, samples, POST_COPY)) assert.equal(step.do, "go-on");
    })));

  it("takes post-copy only where the migration was begun for it", () =>
    fc.assert(fc.property(anyOptions, fc.array(anySample, { maxLength: 80 }), (given, samples) => {
      if (!given.postCopy) for (const step of walk(given, samples, PRE_COPY)) assert.notEqual(step.do, "post-copy");
    })));

  it("always ends: at its limit at the latest, and without one when nothing moves", () =>
    fc.assert(fc.property(anyOptions, fc.array(anySample, { minLength: 1, maxLength: 80 }), fc.constantFrom(PRE_COPY, PAUSED), (given, samples, mode) => {
      if (given.completionTimeoutSeconds + given.progressTimeoutSeconds === 0) return;
      const still = Array.from({ length: 400 }, () => ({ ...samples.at(-1)!, sinceMs: 1_000, newRound: false, sent: 0 }));
      const steps = walk(given, [...samples, ...still], mode);
      assert.ok(steps.some(({ do: done }) => done !== "go-on" && done !== "set-downtime"), JSON.stringify(given));
    })));
});
