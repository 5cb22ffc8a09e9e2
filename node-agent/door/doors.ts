/**
 * The agent's hand on its doors and passages: it opens them, finds those that an earlier agent opened, and closes what no
 * record speaks of any more. None of them needs it in between.
 */
import { existsSync, readFileSync } from "node:fs";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import type { InstanceMigration } from "../../gen/drover/v1/virtual_machine_instance.ts";
import type { TlsFiles } from "../../lib/client.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/log.ts";
import { identityUri, serverNameOf } from "../../lib/pki/identity.ts";
import { localSockets } from "../libvirt/uri.ts";
import type { Passage } from "../machine/observed.ts";
import type { CopiedDevices, DoorGrant, DoorWord, PassageGrant, Standing } from "./grant.ts";
import { DoorFailed, Launcher } from "./launcher.ts";
import { ownIdentityIn } from "./peer.ts";
import type { NodeIdentity } from "./peer.ts";
import { kill } from "./process-identity.ts";
import { digestOf, filesOf, migrationsWith, standingOf } from "./standing.ts";
import type { Kind } from "./standing.ts";

const KINDS: readonly Kind[] = ["door", "passage"];

/** Where this node takes migrations in. */
export type MigrationPlace = { address: string; ports?: { first: number; last: number } | undefined };

export type DoorsOptions = {
  stateDirectory: string;
  tls: TlsFiles;
  place: MigrationPlace | undefined;
  /** Of this host's own libvirt. */
  libvirtUri: string;
  clock: Clock;
  log: Logger;
  refused: (refusal: DoorWord["refused"] & { migrationUid: string }) => void;
};

/** A migration in which this node has a part, and whether its source has begun. */
export type OpenMigration = { uid: string; kind: Kind; begun: boolean };

export interface Doors {
  /** Opens this node's door to the source of the migration, or finds it open. Answers where it is, as host:port. */
  openDoor(migration: InstanceMigration, intendedXml: string, copied?: CopiedDevices): Promise<string>;
  /** Opens the way to the target's door. Answers the libvirt URI that leads through it, and QEMU's name at its end. */
  openPassage(migration: InstanceMigration): Promise<Passage>;
  /** Lets nothing new begin in the migration. */
  close(migrationUid: string): void;
  /** These migrations are open. The doors and passages of all others are closed, and those to come are made ready. */
  attend(migrations: readonly OpenMigration[]): void;
  /** The agent ends. What stands goes on. */
  stop(): void;
}

export class ProcessDoors implements Doors {
  readonly #options: DoorsOptions;
  readonly #launcher: Launcher;
  #attended = 0;
  /** Process ids of the doors that are listened to. */
  readonly #followed = new Set<number>();

  constructor(options: DoorsOptions) {
    this.#options = options;
    this.#launcher = new Launcher(options.stateDirectory, options.clock);
  }

  async openDoor({ uid, sourceNodeUid, sourceIncarnation }: InstanceMigration, intendedXml: string, copied?: CopiedDevices): Promise<string> {
    const { stateDirectory, tls, place, libvirtUri } = this.#options;
    if (!place) throw new DoorFailed("This node is not configured to receive migrations");
    const { stateFile, socket } = filesOf(stateDirectory, "door", uid);
    const grant: DoorGrant = {
      kind: "door", migrationUid: uid, host: place.address, ports: place.ports, tls,
      peer: peerUri(this.#identity(), { uid: sourceNodeUid, incarnation: sourceIncarnation }),
      libvirtSocket: socketOf(libvirtUri), memoryUri: memoryUriAt(place), intendedXml, copied, stateFile, controlSocket: socket,
    };
    const present = standingOf({ stateFile, socket });
    const same = present?.grantDigest === digestOf(grant);
    if (present && !same) kill(present, "SIGKILL");
    const standing = present && same ? present : await this.#launcher.launch(grant);
    this.#follow(uid, standing);
    return standing.address;
  }

  async openPassage({ uid, target, targetNodeUid, targetIncarnation }: InstanceMigration): Promise<Passage> {
    const { stateDirectory, tls } = this.#options;
    if (!target?.doorAddress) throw new DoorFailed("The target has not said where its door is");
    const { trustDomain } = this.#identity();
    const { stateFile, socket } = filesOf(stateDirectory, "passage", uid);
    const grant: PassageGrant = {
      kind: "passage", migrationUid: uid, door: target.doorAddress, tls, stateFile, socket,
      serverName: serverNameOf(trustDomain, { kind: "node", uid: targetNodeUid }),
      peer: peerUri({ trustDomain }, { uid: targetNodeUid, incarnation: targetIncarnation }),
    };
    // One of an earlier agent would keep the door to itself.
    const earlier = standingOf({ stateFile, socket });
    if (earlier) kill(earlier, "SIGKILL");
    const { address } = await this.#launcher.launch(grant);
    return { uri: `qemu+unix:///system?socket=${address}`, tlsDestination: serverNameOf(trustDomain, { kind: "migration", uid: targetNodeUid }) };
  }

  close(migrationUid: string): void {
    for (const kind of KINDS) {
      const standing = this.#standing(kind, migrationUid);
      if (standing) kill(standing, "SIGTERM");
    }
  }

  attend(migrations: readonly OpenMigration[]): void {
    const uids = new Set(migrations.map(({ uid }) => uid));
    for (const kind of KINDS) for (const uid of migrationsWith(this.#options.stateDirectory, kind)) this.#attendOne(kind, uid, uids.has(uid));
    const expected = migrations.filter(({ uid, kind, begun }) => !begun && this.#may(kind) && this.#standing(kind, uid) === undefined);
    this.#launcher.expect(expected);
    if (this.#attended > 0 && migrations.length === 0) this.#launcher.keepSpare();
    this.#attended = migrations.length;
  }

  stop(): void {
    this.#launcher.close();
  }

  #attendOne(kind: Kind, uid: string, isOpen: boolean): void {
    const standing = this.#standing(kind, uid);
    if (!standing) return;
    if (!isOpen) {
      this.#options.log.debug({ migrationUid: uid, kind }, "closing what no record speaks of");
      kill(standing, "SIGTERM");
    } else if (kind === "door") this.#follow(uid, standing);
  }

  #may(kind: Kind): boolean {
    return kind === "passage" || this.#options.place !== undefined;
  }

  #standing(kind: Kind, uid: string): Standing | undefined {
    return standingOf(filesOf(this.#options.stateDirectory, kind, uid));
  }

  #identity(): NodeIdentity {
    const identity = ownIdentityIn(readFileSync(this.#options.tls.cert, "utf8"));
    if (!identity) throw new DoorFailed("The agent's certificate is for no node");
    return identity;
  }

  #follow(migrationUid: string, { pid }: Standing): void {
    if (this.#followed.has(pid)) return;
    this.#followed.add(pid);
    const { stateDirectory, log, refused } = this.#options;
    const control = connect(filesOf(stateDirectory, "door", migrationUid).socket);
    control.unref().on("error", () => undefined).on("close", () => this.#followed.delete(pid));
    // The reader of lines repeats the errors of what it reads.
    createInterface(control).on("error", () => undefined).on("line", (line) => {
      const word = JSON.parse(line) as DoorWord;
      log.warn({ migrationUid, ...word.refused }, "the door refused a connection");
      refused({ migrationUid, ...word.refused });
    });
  }
}

export const memoryUriAt = ({ address }: MigrationPlace): string => `tcp://${address.includes(":") ? `[${address}]` : address}`;

function peerUri({ trustDomain }: Pick<NodeIdentity, "trustDomain">, { uid, incarnation }: { uid: string; incarnation: number }): string {
  if (uid === "" || incarnation === 0) throw new DoorFailed("The record does not say which certificate the other node has");
  return identityUri(trustDomain, { kind: "node", uid, incarnation });
}

function socketOf(libvirtUri: string): string {
  const socket = localSockets(libvirtUri).find((path) => existsSync(path));
  if (socket === undefined) throw new DoorFailed(`libvirt has no socket here at "${libvirtUri}"`);
  return socket;
}
