/**
 * One peer-to-peer migration, as libvirtd carries it out by itself once it was asked: prepare at the target, copy, stop the
 * source, finish at the target, confirm at the source. What a loss does depends on where it was.
 */
import { errorCode, resumedDetail, startedDetail } from "../../../node-agent/libvirt/constants.ts";
import { HypervisorError } from "../../../node-agent/libvirt/hypervisor.ts";
import type { HypervisorErrorKind, JobStats, MigrateOptions } from "../../../node-agent/libvirt/hypervisor.ts";
import type { Qemu, SimHost } from "./host.ts";

export type Stage = "begin" | "copy" | "switchover" | "finished" | "over";
export type Lost = "source-qemu" | "target-qemu" | "source-libvirtd" | "target-libvirtd" | "source-host" | "target-host";

const SUSPENDED_MIGRATED = 1;
const MEMORY_BYTES = 128 * 1024 ** 2;
/** qemu.conf's keepalive. */
const LINK_LOST_MS = 11_000;

/** libvirt has one place for a guest's memory on its way; two hosts meet there by the uid of the door. */
export class Transfer {
  readonly source: SimHost;
  readonly target: SimHost;
  readonly #qemu: Qemu;
  readonly #options: MigrateOptions;
  readonly #done: (error?: HypervisorError) => void;
  readonly #beganMs: number;
  readonly #copyMs: number;
  #incoming: Qemu | undefined;
  #iteration = 0;
  stage: Stage = "begin";

  constructor({ source, target, qemu, options, done, copyMs }: {
    source: SimHost; target: SimHost; qemu: Qemu; options: MigrateOptions; copyMs: number; done: (error?: HypervisorError) => void;
  }) {
    this.source = source;
    this.target = target;
    this.#qemu = qemu;
    this.#options = options;
    this.#done = done;
    this.#copyMs = copyMs;
    this.#beganMs = source.world.nowMs;
    qemu.outgoing = this;
  }

  begin(): void {
    this.#later(20, 120, () => this.#prepare());
  }

  get isOver(): boolean {
    return this.stage === "over";
  }

  get stats(): JobStats {
    const elapsedMs = Math.round(this.source.world.nowMs - this.#beganMs);
    if (this.stage === "begin") return { kind: "migration-out", elapsedMs };
    const share = Math.min(1, elapsedMs / this.#copyMs);
    const memoryProcessedBytes = Math.round(MEMORY_BYTES * share);
    return {
      kind: "migration-out", elapsedMs, iteration: this.#iteration,
      memoryTotalBytes: MEMORY_BYTES, memoryProcessedBytes, memoryRemainingBytes: MEMORY_BYTES - memoryProcessedBytes,
      memoryBytesPerSecond: 32 * 1024 ** 2, dirtyPagesPerSecond: 100, pageSizeBytes: 4096,
    };
  }

  /** virDomainAbortJob: of no use once the guest has stopped here. */
  abort(): void {
    if (this.stage !== "begin" && this.stage !== "copy") throw new HypervisorError("invalid-state", "cannot abort the migration any more", errorCode.OPERATION_INVALID);
    this.#rollBack(error("failed", "operation aborted: migration out job: canceled by client", errorCode.OPERATION_ABORTED));
  }

  lost(what: Lost): void {
    if (this.stage === "over") return;
    this.source.note(`its transfer to ${this.target.name} loses ${what} in ${this.stage}`);
    if (this.stage === "begin" || this.stage === "copy") return this.#lostBefore(what);
    if (this.stage === "switchover") return this.#lostBetween(what);
    this.#lostAfter(what);
  }

  #lostBefore(what: Lost): void {
    switch (what) {
      case "source-qemu":
        this.#dropIncoming();
        return this.#end(error("failed", "operation failed: domain is not running", errorCode.OPERATION_FAILED));
      case "target-qemu":
        return this.#end(error("failed", "internal error: QEMU unexpectedly closed the monitor", errorCode.INTERNAL_ERROR));
      case "source-libvirtd":
      case "source-host":
        this.#dropIncoming();
        return this.#end(undefined);
      case "target-libvirtd":
        // Its half of the guest stays until the daemon is back, and nobody can go on with it.
        return this.#end(error("failed", "End of file while reading data: Input/output error", errorCode.INTERNAL_ERROR));
      case "target-host":
        return this.#end(error("failed", "unable to connect to server: Connection reset by peer", errorCode.SYSTEM_ERROR));
    }
  }

  /** The source has stopped and the target has not begun. */
  #lostBetween(what: Lost): void {
    switch (what) {
      case "source-qemu":
      case "source-host":
        this.#dropIncoming();
        return this.#end(error("failed", "operation failed: domain is not running", errorCode.OPERATION_FAILED));
      case "source-libvirtd":
        // libvirt leaves the source stopped, since it cannot know; the target gives up with its connection.
        this.#dropIncoming();
        return this.#end(undefined);
      case "target-qemu":
      case "target-libvirtd":
      case "target-host":
        this.#resumeSource();
        return this.#end(error("failed", "operation failed: domain is not running on the destination", errorCode.OPERATION_FAILED));
    }
  }

  /** The guest runs at the target; the source has not been told. */
  #lostAfter(what: Lost): void {
    if (what === "source-qemu" || what === "source-host" || what === "source-libvirtd") return this.#end(undefined);
    // Whether the target went on is not known: the lock on the disk keeps the source from it.
    this.#end(error("failed", "End of file while reading data: Input/output error", errorCode.SYSTEM_ERROR));
  }

  #prepare(): void {
    const { source, target } = this;
    if (this.#isCut()) return this.#rollBackLater("unable to connect to server at the target: Connection timed out");
    if (!target.up || !target.daemonUp) return this.#rollBack(refused("unable to connect to server at the target: Connection refused"));
    if (target.daemonHangs) return this.#later(500, 500, () => this.#prepare());
    if (target.qemus.has(this.#qemu.uuid)) return this.#rollBack(error("failed", "Requested operation is not valid: domain is already active", errorCode.OPERATION_INVALID));
    const { uuid, name } = this.#qemu;
    const incoming: Qemu = { uuid, name, xml: this.#options.destinationXml, state: "paused", reason: "migration", incoming: this, outgoing: undefined };
    target.qemus.set(uuid, incoming);
    this.#incoming = incoming;
    this.stage = "copy";
    source.note(`copies ${name} to ${target.name}`);
    target.tell(incoming, "started", startedDetail.MIGRATED);
    this.#copy(source.world.nowMs + this.#copyMs);
  }

  #copy(untilMs: number): void {

    const { source } = this;
    if (this.#isCut()) return this.#rollBackLater("operation failed: migration out job: unexpectedly failed");
    if ((source.world.nowMs >= untilMs || source.fabric.isCalm()) && !source.daemonHangs) return this.#switchOver();
    this.#iteration += 1;
    source.emit({ type: "migration-iteration", uuid: this.#qemu.uuid, iteration: this.#iteration });
    const leftMs = Math.max(20, Math.min(1_000, untilMs - source.world.nowMs));
    this.#later(leftMs, leftMs, () => this.#copy(untilMs));
  }

  #switchOver(): void {
    this.stage = "switchover";
    this.source.change(this.#qemu, "paused", "migration");
    this.source.note(`${this.#qemu.name} stands still for its switch to ${this.target.name}`);
    this.source.tell(this.#qemu, "suspended", SUSPENDED_MIGRATED);
    this.#later(20, 400, () => this.#finish());
  }

  #finish(): void {
    const { target, source } = this;
    if (target.daemonHangs || source.daemonHangs) return this.#later(500, 500, () => this.#finish());
    if (this.#isCut()) {
      // The target gives up with its connection; the source goes on, as the target has said nothing.
      return this.#later(LINK_LOST_MS, LINK_LOST_MS, () => {
        this.#dropIncoming();
        this.#resumeSource();
        this.#end(error("failed", "operation failed: lost the connection to the destination", errorCode.SYSTEM_ERROR));
      });
    }
    const incoming = this.#incoming!;
    this.stage = "finished";
    incoming.incoming = this;
    target.definitions.set(incoming.uuid, { uuid: incoming.uuid, name: incoming.name, xml: this.#options.persistentXml });
    target.change(incoming, "running", "migrated");
    target.note(`${incoming.name} runs here now`);
    target.tell(incoming, "resumed", resumedDetail.MIGRATED);
    this.#later(5, 80, () => this.#confirm());
  }

  #confirm(): void {
    const { source } = this;
    if (source.daemonHangs) return this.#later(500, 500, () => this.#confirm());
    if (this.#isCut()) return this.#end(error("failed", "End of file while reading data: Input/output error", errorCode.SYSTEM_ERROR));
    this.stage = "over";
    this.#qemu.outgoing = undefined;
    this.#incoming!.incoming = undefined;
    source.definitions.delete(this.#qemu.uuid);
    source.stop(this.#qemu.uuid, "migrated");
    this.#done();
    const stats = { ...this.stats, downtimeMs: 200 };
    source.world.after(10, () => source.emit({ type: "job-completed", uuid: this.#qemu.uuid, stats }));
  }

  #isCut(): boolean {
    return this.source.fabric.isLinkCut(this.source.name, this.target.name);
  }

  #rollBackLater(message: string): void {
    this.#later(LINK_LOST_MS, LINK_LOST_MS + 400, () => this.#rollBack(error("failed", message, errorCode.SYSTEM_ERROR)));
  }

  /** As though it had never begun. */
  #rollBack(failure: HypervisorError): void {
    this.#dropIncoming();
    this.#end(failure);
  }

  #resumeSource(): void {
    if (!this.source.up || !this.source.qemus.has(this.#qemu.uuid)) return;
    this.source.change(this.#qemu, "running", "migration-canceled");
    this.source.tell(this.#qemu, "resumed", resumedDetail.UNPAUSED);
  }

  #dropIncoming(): void {
    const incoming = this.#incoming;
    this.#incoming = undefined;
    if (!incoming || this.target.qemus.get(incoming.uuid) !== incoming) return;
    incoming.incoming = undefined;
    if (this.target.daemonUp) this.target.stop(incoming.uuid, "failed");
    else incoming.incoming = this;
  }

  /** Without an error there is nobody to tell: the daemon that was asked is gone. */
  #end(failure: HypervisorError | undefined): void {
    if (this.stage === "over") return;
    this.stage = "over";
    this.#qemu.outgoing = undefined;
    this.source.note(`its transfer of ${this.#qemu.name} is over: ${failure?.message ?? "nobody hears how"}`);
    this.#done(failure ?? new HypervisorError("connection-lost", "End of file while reading data", errorCode.SYSTEM_ERROR));
  }

  #later(fromMs: number, toMs: number, run: () => void): void {
    const { world, chance } = this.source;
    world.after(chance.between(fromMs, toMs), () => {
      if (this.stage !== "over") run();
    });
  }
}

const error = (kind: HypervisorErrorKind, message: string, code: number): HypervisorError => new HypervisorError(kind, message, code);
export const refused = (message: string): HypervisorError => error("failed", message, errorCode.SYSTEM_ERROR);
