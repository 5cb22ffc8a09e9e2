/** What the source of a migration does. The call itself is left to run: its end is one more thing to observe. */
import { MigrationMode, MigrationProgress, MigrationSourceReport, MigrationSourceState } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration, OfferedDisk } from "../../gen/drover/v1/virtual_machine_instance.ts";
import { copiedDevices, withoutBases } from "../domain/copied-disks.ts";
import { replaceEpoch } from "../domain/metadata.ts";
import { HypervisorError } from "../libvirt/hypervisor.ts";
import type { JobStats, MigrateOptions } from "../libvirt/hypervisor.ts";
import { active } from "../machine/observed.ts";
import type { SourceMemory } from "../machine/observed.ts";
import { errorLine } from "../one-line.ts";
import type { Pause, Subject, Tools } from "../machine/tools.ts";
import { hasFigures } from "./convergence.ts";
import type { Convergence } from "./convergence.ts";
import { ABORT_REPEAT_MS, PROGRESS_EVERY_MS, sourceMemory, wordOf } from "./source.ts";
import type { SourceWord } from "./source.ts";

export const sourceActions = {
  "offer-disks": async (_: unknown, subject: Subject, tools: Tools): Promise<Pause> => {
    const { memory } = openSource(subject);
    try {
      offer(subject, tools, await tools.storage.copies.offer(subject.observed.assignment!.instance!));
    } catch (error) {
      tools.log.warn({ error, vmiUid: subject.vmiUid }, "the disks cannot be copied");
      Object.assign(memory, { passage: "failed", error: outcomeOf(error).error });
    }
    return undefined;
  },

  "open-passage": async (_: unknown, subject: Subject, { doors, storage, log }: Tools): Promise<Pause> => {
    const { migration, memory } = openSource(subject);
    try {
      await storage.copies.verify(subject.observed.assignment!.instance!);
      memory.passage = await doors.openPassage(migration);
    } catch (error) {
      log.warn({ error, vmiUid: subject.vmiUid }, "there is no way to the target");
      Object.assign(memory, { passage: "failed", error: outcomeOf(error).error });
    }
    return undefined;
  },

  call: async (_: unknown, subject: Subject, tools: Tools): Promise<Pause> => {
    const { migration, memory } = openSource(subject);
    leaveToRun(transfer(subject, tools, { migration, memory }), subject, tools);
    return PROGRESS_EVERY_MS;
  },

  abort: async (_: unknown, subject: Subject, { hypervisor, clock, log, ...tools }: Tools): Promise<Pause> => {
    const { memory } = openSource(subject);
    memory.abortAskedMs = clock.monotonicMs();
    try {
      await hypervisor.abortJob(subject.observed.domain?.uuid ?? "");
      log.info({ vmiUid: subject.vmiUid }, "asked libvirt to abort the migration");
    } catch (error) {
      // Before the job has begun there is nothing to abort: it is asked again until the call returns.
      log.debug({ error, vmiUid: subject.vmiUid }, "the migration could not be aborted yet");
      return ABORT_REPEAT_MS;
    }
    if (!memory.abortSent) {
      memory.abortSent = true;
      sayAsSource(subject, tools, { state: MigrationSourceState.ISSUED, message: "" });
    }
    return ABORT_REPEAT_MS;
  },

  "note-quiet": async (_: unknown, subject: Subject, { clock }: Tools): Promise<Pause> => {
    openSource(subject).memory.quietSinceMs = clock.monotonicMs();
    return undefined;
  },

  "poll-progress": async ({ convergence }: { convergence?: Convergence | undefined }, subject: Subject, { outbox }: Tools): Promise<Pause> => {
    const { migration, memory } = openSource(subject);
    const { job } = subject.observed;
    memory.quietSinceMs = undefined;
    if (convergence) memory.convergence = convergence;
    if (!job || !hasFigures(job) || memory.complete) return PROGRESS_EVERY_MS;
    memory.progress = {
      ...progressOf(job), mode: migration.source?.mode ?? MigrationMode.UNSPECIFIED, downtimeLimitMs: memory.convergence?.downtimeLimitMs ?? 0,
    };
    outbox.submit(address(subject, migration.sourceEpoch), {
      $case: "migrationProgress",
      value: { migrationUid: migration.uid, progress: memory.progress },
    });
    return PROGRESS_EVERY_MS;
  },

  "say-source": async (word: Word, subject: Subject, tools: Tools): Promise<Pause> => {
    const { domain } = subject.observed;
    const leftover = word.state === MigrationSourceState.LEFT && domain?.identity?.vmiUid === subject.vmiUid && !active(domain);
    if (leftover) await tools.hypervisor.undefine(domain.uuid);
    sayAsSource(subject, tools, word);
    return undefined;
  },
};

/** The open migration, and what this process knows of it, kept from here on. */
export function openSource({ observed, memory }: Subject): { migration: InstanceMigration; memory: SourceMemory } {
  const migration = observed.assignment!.instance!.status!.migration!;
  memory.source = sourceMemory({ memory }, migration);
  return { migration, memory: memory.source };
}

/** The call from here on: its end is one more thing to observe. */
export function leaveToRun(call: Promise<void>, subject: Subject, tools: Tools): void {
  const { memory } = openSource(subject);
  memory.call = "outstanding";
  void call.then(
    () => ended(subject, memory, { call: "returned", error: "" }, tools),
    (error: unknown) => ended(subject, memory, outcomeOf(error), tools),
  );
}

type Transfer = { migration: InstanceMigration; memory: SourceMemory; resumePostCopy?: boolean };

export async function transfer({ observed }: Subject, { hypervisor }: Tools, { migration, memory, resumePostCopy = false }: Transfer): Promise<void> {
  const { passage } = memory;
  if (typeof passage === "string") throw new NoPassage("No way to the target was opened");
  const { uuid } = observed.domain!;
  const { target, targetEpoch } = migration;
  const copied = copiedDevices(observed.assignment!.instance!);
  // A disk that is copied in full has no base where it arrives.
  const adapt = (xml: string) => replaceEpoch(copied?.how === "full" ? withoutBases(xml, copied.devices) : xml, targetEpoch);
  const [live, persistent] = await Promise.all([hypervisor.xml(uuid, "migratable"), hypervisor.xml(uuid, "inactive")]);
  const options: MigrateOptions = {
    destinationUri: passage.uri,
    destinationXml: adapt(live),
    persistentXml: adapt(persistent),
    ...optionsOf(migration),
    // The target finds every other disk in its pool before it says READY, and has proved that the pool is this one.
    disksKnownShared: true,
    tls: true,
    tlsDestination: passage.tlsDestination,
  };
  if (copied) Object.assign(options, { copyStorage: copied.how === "full" ? "full" : "incremental", copyDisks: copied.devices });
  if (target?.memoryUri) options.migrationUri = target.memoryUri;
  if (resumePostCopy) options.resumePostCopy = true;
  await hypervisor.migrate(uuid, options);
}

/** As resolved at admission; a record of an older version has two of them in its own fields. */
function optionsOf({ options, bandwidthMibPerSecond: bandwidthMiBps, autoConverge }: InstanceMigration): Partial<MigrateOptions> {
  const { postCopy = false, parallelConnections = 0 } = options ?? {};
  const limited = bandwidthMiBps > 0;
  return {
    autoConverge,
    ...(limited && { bandwidthMiBps }),
    ...(postCopy && { postCopy, ...(limited && { postCopyBandwidthMiBps: bandwidthMiBps }) }),
    ...(parallelConnections > 0 && { parallelConnections }),
  };
}

class NoPassage extends Error {
  override name = "NoPassage";
}

type CallEnd = Pick<SourceMemory, "call" | "error">;

export function outcomeOf(error: unknown): CallEnd {
  const text = errorLine(error);
  const lost = error instanceof HypervisorError && (error.kind === "connection-lost" || error.kind === "timeout");
  return { call: lost ? "lost" : "returned", error: text };
}

function ended({ poke, vmiUid }: Subject, memory: SourceMemory, end: CallEnd, { clock, log }: Tools): void {
  Object.assign(memory, end, { returnedMs: clock.monotonicMs() });
  log.info({ vmiUid, ...end }, "the migration call has ended");
  poke();
}

/** Nothing is promised by it: it has no state. */
function offer(subject: Subject, { outbox, self }: Tools, disks: OfferedDisk[]): void {
  const { migration, memory } = openSource(subject);
  const { resourceVersion } = subject.observed.assignment!.instance!.metadata!;
  memory.offered = true;
  memory.generation = Math.max(memory.generation, migration.source?.generation ?? 0) + 1;
  const report = MigrationSourceReport.create({ generation: memory.generation, disks, agentInstance: self().agentInstance });
  const part = { $case: "migrationSource", value: { migrationUid: migration.uid, report } } as const;
  outbox.submit(address(subject, migration.sourceEpoch), part, () => {
    memory.offered = false;
    subject.memory.refusedAt = resourceVersion;
    subject.poke();
  });
}

type Word = { state: MigrationSourceState; message: string; also?: SourceWord };

export function sayAsSource(subject: Subject, { outbox, self }: Pick<Tools, "outbox" | "self">, { state, message, also = {} }: Word): void {
  const { migration, memory } = openSource(subject);
  const { source } = migration;
  // A process that speaks of a call which it has not made has adopted it: it must not take the record's word for its own.
  if (memory.call === "none" && source?.state === MigrationSourceState.ISSUED) memory.call = "lost";
  if (also.gaveUp) memory.gaveUp = also.gaveUp;
  memory.awaited = wordOf(also);
  const { resourceVersion } = subject.observed.assignment!.instance!.metadata!;
  memory.said = state;
  memory.generation = Math.max(memory.generation, source?.generation ?? 0) + 1;
  const report = MigrationSourceReport.create({
    generation: memory.generation, state, message, progress: memory.progress, agentInstance: self().agentInstance, abortSent: memory.abortSent,
    mode: also.mode ?? (source?.mode || MigrationMode.PRE_COPY),
    gaveUp: also.gaveUp ?? (source?.gaveUp || memory.gaveUp),
    standstill: "standstill" in also ? also.standstill : source?.standstill,
  });
  const part = { $case: "migrationSource", value: { migrationUid: migration.uid, report } } as const;
  outbox.submit(address(subject, migration.sourceEpoch), part, () => {
    memory.said = undefined;
    memory.awaited = "";
    subject.memory.refusedAt = resourceVersion;
    subject.poke();
  });
}

export function address({ observed, vmiUid }: Subject, epoch: number): { namespace: string; name: string; vmiUid: string; epoch: number } {
  const { namespace, name } = observed.assignment!.instance!.metadata!;
  return { namespace, name, vmiUid, epoch };
}

/** libvirt's figures in the record's words. */
export function progressOf(job: JobStats): MigrationProgress {
  return MigrationProgress.create({
    memoryTotalBytes: job.memoryTotalBytes ?? 0,
    memoryProcessedBytes: job.memoryProcessedBytes ?? 0,
    memoryRemainingBytes: job.memoryRemainingBytes ?? 0,
    memoryBytesPerSecond: job.memoryBytesPerSecond ?? 0,
    dirtyBytesPerSecond: (job.dirtyPagesPerSecond ?? 0) * (job.pageSizeBytes ?? 4096),
    iteration: job.iteration ?? 0,
    elapsedMs: job.elapsedMs ?? 0,
    downtimeMs: job.downtimeMs ?? 0,
    throttlePercent: job.throttlePercent ?? 0,
    diskTotalBytes: job.diskTotalBytes ?? 0,
    diskProcessedBytes: job.diskProcessedBytes ?? 0,
    diskRemainingBytes: job.diskRemainingBytes ?? 0,
  });
}

/** libvirt's last figures are of memory alone: what was copied of disks stands in those before. */
export function withDisks(figures: MigrationProgress, before: MigrationProgress | undefined): MigrationProgress {
  if (figures.diskTotalBytes > 0 || !before) return figures;
  const { diskTotalBytes } = before;
  return { ...figures, diskTotalBytes, diskProcessedBytes: diskTotalBytes };
}
