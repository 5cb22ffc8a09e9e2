/** What the source does so that a transfer converges, and so that a post-copy that broke goes on. */
import { backoffMs } from "../../lib/backoff.ts";
import { delay } from "../../lib/clock.ts";
import { HypervisorError } from "../libvirt/hypervisor.ts";
import type { Pause, Subject, Tools } from "../machine/tools.ts";
import type { Convergence } from "./convergence.ts";
import { leaveToRun, openSource, outcomeOf, transfer } from "./source-act.ts";
import { PROGRESS_EVERY_MS } from "./source.ts";

const MEND = { firstMs: 2_000, maxMs: 30_000, factor: 1.5 };
/** What QEMU needs to take note that the migration was broken off. */
const BROKEN_OFF_MS = 500;

export const convergenceActions = {
  "set-downtime": async ({ milliseconds, convergence }: { milliseconds: number; convergence: Convergence }, subject: Subject, { hypervisor, log }: Tools): Promise<Pause> => {
    const { memory } = openSource(subject);
    // A moment at which libvirt does not take it is one step that is left out.
    memory.convergence = convergence;
    const done = await asked(() => hypervisor.setMaxDowntime(uuidOf(subject), milliseconds));
    log.info({ vmiUid: subject.vmiUid, milliseconds, ...done }, "the switch-over may take longer");
    return PROGRESS_EVERY_MS;
  },

  "pause-guest": async (_: unknown, subject: Subject, { hypervisor, log }: Tools): Promise<Pause> => {
    openSource(subject).memory.suspended = true;
    const done = await asked(() => hypervisor.suspend(uuidOf(subject)));
    log.info({ vmiUid: subject.vmiUid, ...done }, "stopped the guest so that the rest of it can move");
    return undefined;
  },

  "resume-guest": async (_: unknown, subject: Subject, { hypervisor, log }: Tools): Promise<Pause> => {
    log.info({ vmiUid: subject.vmiUid }, "the guest goes on here: nothing of it is at the target");
    await hypervisor.resume(uuidOf(subject));
    return undefined;
  },

  "start-post-copy": async ({ why }: { why: string }, subject: Subject, { hypervisor, log }: Tools): Promise<Pause> => {
    const { memory } = openSource(subject);
    const { error = "" } = await asked(() => hypervisor.startPostCopy(uuidOf(subject)));
    log.info({ vmiUid: subject.vmiUid, why, error }, "asked libvirt to go on with post-copy");
    if (error === "") return undefined;
    memory.postCopyRefusals += 1;
    memory.error = error;
    return PROGRESS_EVERY_MS;
  },

  "mend-post-copy": async (_: unknown, subject: Subject, tools: Tools): Promise<Pause> => {
    const { memory } = openSource(subject);
    const attempts = (memory.mends?.attempts ?? 0) + 1;
    tools.log.info({ vmiUid: subject.vmiUid, attempts }, "going on with a post-copy that broke");
    const pauseMs = backoffMs(MEND, attempts, tools.random.fraction());
    const mended = goOn(subject, tools).catch((error: unknown) => {
      memory.mends = { attempts, dueMs: tools.clock.monotonicMs() + pauseMs, message: outcomeOf(error).error };
      throw error;
    });
    leaveToRun(mended, subject, tools);
    return PROGRESS_EVERY_MS;
  },
};

/** QEMU at either end may still believe in the broken connection; one attempt at a time, since a second one is refused. */
async function goOn(subject: Subject, tools: Tools): Promise<void> {
  const { hypervisor, clock, doors } = tools;
  const { migration, memory } = openSource(subject);
  await asked(() => hypervisor.abortJob(uuidOf(subject), { postCopy: true }));
  await delay(clock, BROKEN_OFF_MS);
  memory.passage = await doors.openPassage(migration);
  await transfer(subject, tools, { migration, memory, resumePostCopy: true });
}

const uuidOf = ({ observed }: Subject): string => observed.domain?.uuid ?? "";

/** What libvirt refused is no fault: the next look says what came of it. */
async function asked(call: () => Promise<void>): Promise<{ error?: string }> {
  try {
    await call();
    return {};
  } catch (error) {
    if (!(error instanceof HypervisorError) || error.kind === "connection-lost" || error.kind === "timeout") throw error;
    return { error: outcomeOf(error).error };
  }
}
