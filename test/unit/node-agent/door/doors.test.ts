/** Doors and passages as real processes between two agents on one machine; libvirt is a socket that answers everything. */
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import type { Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InstanceMigration, MigrationTargetReport } from "../../../../gen/drover/v1/virtual_machine_instance.ts";
import type { TlsFiles } from "../../../../lib/client.ts";
import { systemClock } from "../../../../lib/clock.ts";
import { silentLog } from "../../../../lib/log.ts";
import { identityUri, serverNameOf } from "../../../../lib/pki/identity.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { ProcessDoors } from "../../../../node-agent/door/doors.ts";
import type { DoorsOptions } from "../../../../node-agent/door/doors.ts";
import { DoorFailed } from "../../../../node-agent/door/launcher.ts";
import { kill } from "../../../../node-agent/door/process-identity.ts";
import { filesOf, standingOf } from "../../../../node-agent/door/standing.ts";
import { encodeFrame, FrameReader, messageType } from "../../../../node-agent/door/rpc.ts";
import { Authority } from "../../../lab/pki.ts";
import { childrenOf } from "../../../lab/proc-table.ts";
import { INTENDED_XML, recordedFrames } from "./recorded.ts";
import { until } from "../fixture.ts";

const TRUST_DOMAIN = "drover";

describe("doors and passages", function () {
  this.timeout(60_000);
  let directory: string;
  let libvirt: Server;
  let authority: Authority;
  const uids = { a: systemRandom.uuid(), b: systemRandom.uuid() };
  const refusals: { migrationUid: string; reason: string }[] = [];
  const opened: ProcessDoors[] = [];

  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "drover-doors-"));
    authority = await Authority.create("drover");
    for (const side of ["a", "b"] as const) await certify(side, 1);
    libvirt = createServer((socket) => {
      const reader = new FrameReader(1 << 20);
      socket.on("error", () => socket.destroy());
      socket.on("data", (bytes) => {
        for (const frame of reader.push(bytes)) if (frame.type === messageType.CALL) socket.write(encodeFrame({ ...frame, type: messageType.REPLY, body: Buffer.alloc(0) }));
      });
    });
    await new Promise<void>((resolve) => libvirt.listen(join(directory, "libvirt-sock"), resolve));
  });
  after(async () => {
    for (const doors of opened) {
      doors.attend([]);
      doors.stop();
    }
    libvirt.close();
    await until(() => standing().length === 0, "nothing to stand");
    rmSync(directory, { recursive: true });
  });

  const filesIn = (side: "a" | "b"): TlsFiles => ({ ca: join(directory, side, "ca.pem"), cert: join(directory, side, "agent.pem"), key: join(directory, side, "agent.key") });

  async function certify(side: "a" | "b", incarnation: number): Promise<void> {
    const uid = uids[side];
    const pem = await authority.issue({
      commonName: side, uris: [identityUri(TRUST_DOMAIN, { kind: "node", uid, incarnation })], names: [serverNameOf(TRUST_DOMAIN, { kind: "node", uid })],
    });
    const { ca, cert, key } = filesIn(side);
    mkdirSync(join(directory, side), { recursive: true });
    writeFileSync(ca, authority.certificatePem);
    writeFileSync(cert, pem.cert);
    writeFileSync(key, pem.key);
  }

  function agent(side: "a" | "b", replace: Partial<DoorsOptions> = {}): ProcessDoors {
    const doors = new ProcessDoors({
      stateDirectory: join(directory, side), tls: filesIn(side), place: { address: "127.0.0.1" },
      libvirtUri: `qemu+unix:///system?socket=${join(directory, "libvirt-sock")}`,
      clock: systemClock, log: silentLog, refused: (refusal) => refusals.push(refusal), ...replace,
    });
    opened.push(doors);
    return doors;
  }

  const standing = (): string[] => (["a", "b"] as const).flatMap((side) => ["doors", "passages"].flatMap((kind) => {
    try {
      return readdirSync(join(directory, side, kind)).filter((name) => name.endsWith(".json"));
    } catch {
      return [];
    }
  }));

  const migration = (replace: Partial<InstanceMigration> = {}): InstanceMigration => InstanceMigration.create({
    uid: systemRandom.uuid(), sourceNodeUid: uids.a, sourceIncarnation: 1, targetNodeUid: uids.b, targetIncarnation: 1, ...replace,
  });
  const reaching = (of: InstanceMigration, doorAddress: string) => ({ ...of, target: MigrationTargetReport.create({ doorAddress }) });

  /** What comes back of the first calls of a recorded migration, through the passage's socket. */
  function ask(uri: string, procedures: readonly number[]): Promise<number[]> {
    return new Promise((resolve) => {
      const answered: number[] = [];
      const reader = new FrameReader(1 << 20);
      const socket = connect(new URL(uri).searchParams.get("socket")!);
      socket.on("error", () => resolve(answered)).on("close", () => resolve(answered));
      socket.on("data", (bytes) => {
        answered.push(...reader.push(bytes).map(({ procedure }) => procedure));
        if (answered.length === procedures.length) socket.destroy();
      });
      for (const procedure of procedures) socket.write(encodeFrame({ ...recordedFrames().find((frame) => frame.procedure === procedure)!, procedure }));
    });
  }

  it("lead from one libvirt to another, for a migration's calls alone", async () => {
    const [source, target] = [agent("a"), agent("b")];
    const of = migration();
    const address = await target.openDoor(of, INTENDED_XML);
    assert.equal(await target.openDoor(of, INTENDED_XML), address, "the same door for the same grant");
    const { uri, tlsDestination } = await source.openPassage(reaching(of, address));
    assert.equal(tlsDestination, `${uids.b}.migration.${TRUST_DOMAIN}`);
    assert.deepEqual(await ask(uri, [66, 60, 1, 360]), [66, 60, 1, 360]);
    const again = await source.openPassage(reaching(of, address));
    const destroy = connect(new URL(again.uri).searchParams.get("socket")!);
    const closed = new Promise((resolve) => destroy.on("close", resolve));
    destroy.on("error", () => undefined).write(encodeFrame({ ...recordedFrames()[0]!, procedure: 12 }));
    await closed;
    await until(() => refusals.some(({ migrationUid, reason }) => migrationUid === of.uid && /Procedure 12/.test(reason)), "the refusal to be told");
    target.attend([]);
    await until(() => standing().length === 0, "door and passage to be gone");
    await assert.rejects(source.openPassage(reaching(of, address)), DoorFailed);
  });

  it("are found by the next agent, with what was refused before it came", async () => {
    const of = migration();
    const address = await agent("b").openDoor(of, INTENDED_XML);
    const { pid } = standingOf(filesOf(join(directory, "b"), "door", of.uid))!;
    await assert.rejects(agent("b").openPassage(reaching(of, address)), /lets somebody else in/);
    const heard: string[] = [];
    const successor = agent("b", { refused: ({ reason }) => heard.push(reason) });
    successor.attend([{ uid: of.uid, kind: "door", begun: true }]);
    await until(() => heard.some((reason) => reason.includes(uids.b)), "the refusal of its own certificate");
    assert.equal(await successor.openDoor(of, INTENDED_XML), address);
    assert.equal(standingOf(filesOf(join(directory, "b"), "door", of.uid))!.pid, pid);
    successor.attend([]);
    successor.stop();
    await until(() => standing().length === 0, "the door to be gone");
  });

  it("are opened anew for another grant, and after their death", async () => {
    const target = agent("b");
    const of = migration();
    await target.openDoor(of, INTENDED_XML);
    const files = filesOf(join(directory, "b"), "door", of.uid);
    const first = standingOf(files)!;
    await target.openDoor({ ...of, sourceIncarnation: 2 }, INTENDED_XML);
    const second = standingOf(files)!;
    assert.notEqual(second.pid, first.pid);
    kill(second, "SIGKILL");
    await until(() => standingOf(files) === undefined, "its death to be seen");
    await target.openDoor(of, INTENDED_XML);
    assert.notEqual(standingOf(files)!.pid, second.pid);
    target.close(of.uid);
    await until(() => standing().length === 0, "the door to be gone");
  });

  it("are made ready before their grant, and used for it or ended", async () => {
    const target = agent("b");
    const of = migration();
    // Those of the tests before may still be on their way out.
    const earlier = new Set(childrenOf(process.pid));
    const waiting = () => childrenOf(process.pid).filter((pid) => !earlier.has(pid) && readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("door/main.ts"));
    target.attend([{ uid: of.uid, kind: "door", begun: false }, { uid: "other", kind: "passage", begun: false }]);
    assert.equal(waiting().length, 2);
    await target.openDoor(of, INTENDED_XML);
    const { pid } = standingOf(filesOf(join(directory, "b"), "door", of.uid))!;
    assert.ok(waiting().includes(pid), "no other process was started for it");
    assert.equal(waiting().length, 2);
    const before = new Set(waiting());
    target.attend([]);
    assert.deepEqual(waiting().filter((one) => !before.has(one)), [], "none is started while the last migration's end is told");
    await until(() => waiting().some((one) => !before.has(one)), "one to be kept for the next migration");
    const spare = waiting().find((one) => !before.has(one));
    const next = migration();
    target.attend([{ uid: next.uid, kind: "door", begun: false }]);
    await target.openDoor(next, INTENDED_XML);
    assert.equal(standingOf(filesOf(join(directory, "b"), "door", next.uid))!.pid, spare);
    target.attend([]);
    target.stop();
    await until(() => waiting().length === 0, "all of them to be gone");
  });

  it("are not opened for nobody, nor at no place", async () => {
    await assert.rejects(agent("b").openDoor(migration({ sourceNodeUid: "" }), INTENDED_XML), DoorFailed);
    await assert.rejects(agent("b", { place: undefined }).openDoor(migration(), INTENDED_XML), DoorFailed);
    await assert.rejects(agent("b", { place: { address: "192.0.2.1" } }).openDoor(migration(), INTENDED_XML), /EADDRNOTAVAIL/);
    await assert.rejects(agent("b", { libvirtUri: "qemu+unix:///system?socket=/nowhere" }).openDoor(migration(), INTENDED_XML), /no socket/);
    await assert.rejects(agent("a").openPassage(migration()), DoorFailed);
  });
});
