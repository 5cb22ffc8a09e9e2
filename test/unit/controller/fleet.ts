/** Two or three hosts with agents that obey their contract, over a World: what runs where, whoever is slow or dead. */
import { DomainState, MigrationSourceReport, MigrationSourceState, MigrationTargetReport, MigrationTargetState, OwnerClaim, OwnerReport, Phase } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import type { InstanceMigration } from "../../../gen/drover/v1/virtual_machine_instance.ts";
import { World } from "./world.ts";

type Host = {
  name: string;
  up: boolean;
  /** Uid and epoch of the guest that runs here. */
  guest: { uid: string; epoch: number } | undefined;
  /** A transfer's call is outstanding; it goes where it goes, whatever the record says by then. */
  calling: { target: string; epoch: number } | undefined;
};

export class Fleet {
  readonly world = new World();
  readonly hosts: Host[];

  constructor(names: readonly string[]) {
    this.hosts = names.map((name) => ({ name, up: true, guest: undefined, calling: undefined }));
    for (const name of names) this.world.addNode(name);
  }

  running(): string[] {
    return this.hosts.filter(({ guest }) => guest !== undefined).map(({ name }) => name);
  }

  host(name: string): Host {
    return this.hosts.find((host) => host.name === name)!;
  }

  /** One look of one agent at what concerns it. */
  agent(name: string): void {
    const host = this.host(name);
    if (!host.up) return;
    this.#owner(host);
    this.#source(host);
    this.#target(host);
  }

  /** Everybody acts until nothing changes. */
  rest(): void {
    for (let turn = 0; turn < 40; turn += 1) {
      const before = this.#picture();
      this.world.settle();
      for (const { name } of this.hosts) this.agent(name);
      this.world.nowMs += 11_000;
      if (before === this.#picture() && !this.world.turn()) return;
    }
    throw new Error(`The fleet does not come to rest: ${this.#picture()}`);
  }

  #picture(): string {
    return JSON.stringify([this.world.commits.length, this.hosts, this.world.instance()?.status]);
  }

  #owner(host: Host): void {
    const instance = this.world.instance();
    if (!instance || instance.status.nodeName !== host.name) return;
    const { status, metadata } = instance;
    const isMine = host.guest?.uid === metadata.uid;
    if (!status.claim) {
      if (metadata.deletionTimestamp || status.phase !== Phase.SCHEDULED) return;
      return this.world.changeInstance((now) => ({ ...now, claim: OwnerClaim.create({ epoch: now.epoch, nodeName: host.name, agentInstance: host.name }) }));
    }
    if (status.migration && !status.migration.handedOff) return;
    if (metadata.deletionTimestamp || status.phase === Phase.FAILED || status.phase === Phase.SUCCEEDED) {
      host.guest = undefined;
      return this.#report(DomainState.GONE, "destroyed");
    }
    if (!isMine && status.reachedRunning) return this.#report(DomainState.GONE, "lost");
    if (!isMine) host.guest = { uid: metadata.uid, epoch: status.epoch };
    if (status.ownerReport?.state !== DomainState.RUNNING) this.#report(DomainState.RUNNING, "booted");
  }

  #report(state: DomainState, reason: string): void {
    const instance = this.world.instance()!;
    if (instance.status.ownerReport?.state === state) return;
    const deleting = instance.metadata.deletionTimestamp !== undefined;
    const { phase } = instance.status;
    const isFinal = phase === Phase.SUCCEEDED || phase === Phase.FAILED;
    const next = state === DomainState.RUNNING ? Phase.RUNNING : deleting || reason === "shutdown" ? Phase.SUCCEEDED : Phase.FAILED;
    this.world.changeInstance((now) => ({
      ...now,
      phase: isFinal ? now.phase : next,
      reachedRunning: now.reachedRunning || state === DomainState.RUNNING,
      ownerReport: OwnerReport.create({ nodeName: now.nodeName, epoch: now.epoch, state, reason, generation: (now.ownerReport?.generation ?? 0) + 1 }),
    }));
  }

  #source(host: Host): void {
    const grant = this.world.instance()?.status.migration;
    if (!grant || grant.sourceNode !== host.name || host.calling) return;
    const state = grant.source?.state ?? MigrationSourceState.UNSPECIFIED;
    if (state === MigrationSourceState.UNSPECIFIED && !grant.handedOff) {
      if (grant.target?.state !== MigrationTargetState.READY || grant.abortRequested || !host.guest) return;
      this.#say(grant, MigrationSourceState.ISSUED);
      host.calling = { target: grant.targetNode, epoch: grant.targetEpoch };
      return;
    }
    if (state === MigrationSourceState.ISSUED) this.#say(grant, host.guest ? MigrationSourceState.STAYED : MigrationSourceState.LEFT);
  }

  #say(grant: InstanceMigration, state: MigrationSourceState): void {
    const source = MigrationSourceReport.create({ state, generation: (grant.source?.generation ?? 0) + 1 });
    this.world.changeInstance((now) => ({ ...now, migration: { ...now.migration!, source } }));
  }

  #target(host: Host): void {
    const grant = this.world.instance()?.status.migration;
    if (!grant || grant.targetNode !== host.name || grant.handedOff) return;
    const source = grant.source?.state ?? MigrationSourceState.UNSPECIFIED;
    const over = source === MigrationSourceState.STAYED || source === MigrationSourceState.LEFT || source === MigrationSourceState.ENDED;
    if (host.guest) return this.#tell(grant, MigrationTargetState.RUNNING);
    if (over) return this.#tell(grant, MigrationTargetState.ABSENT);
    if (!grant.target) this.#tell(grant, MigrationTargetState.READY);
  }

  #tell(grant: InstanceMigration, state: MigrationTargetState): void {
    const peerGeneration = grant.source?.generation ?? 0;
    if (grant.target?.state === state && grant.target.peerGeneration === peerGeneration) return;
    const target = MigrationTargetReport.create({ state, peerGeneration, generation: (grant.target?.generation ?? 0) + 1 });
    this.world.changeInstance((now) => ({ ...now, migration: { ...now.migration!, target } }));
  }

  /** How an outstanding call ends, as libvirt sees it; the agents learn of it when they look. */
  transfer(outcome: "moves" | "stays" | "dies"): void {
    const source = this.hosts.find(({ calling }) => calling);
    const call = source?.calling;
    if (!source || !call) return;
    source.calling = undefined;
    if (outcome === "stays" || !source.guest) return;
    const target = this.host(call.target);
    if (outcome === "moves" && target.up) target.guest = { uid: source.guest.uid, epoch: call.epoch };
    source.guest = undefined;
  }

  shutDown(): void {
    const host = this.hosts.find(({ guest, up }) => guest && up);
    const status = this.world.instance()?.status;
    if (!host || !status || status.nodeName !== host.name || status.phase !== Phase.RUNNING || status.migration) return;
    host.guest = undefined;
    this.#report(DomainState.GONE, "shutdown");
  }

  powerOff(name: string): void {
    const host = this.host(name);
    host.up = false;
    host.guest = undefined;
    host.calling = undefined;
    this.world.silence(name);
  }

  fence(name: string): void {
    if (!this.host(name).up) this.world.fence(name);
  }

  powerOn(name: string): void {
    const host = this.host(name);
    if (host.up) return;
    host.up = true;
    this.world.connect(name);
  }
}
