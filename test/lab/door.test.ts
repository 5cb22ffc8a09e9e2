/** The door between two real libvirts: what a migration needs goes through, and nothing else does. */
import assert from "node:assert/strict";
import { connect } from "node:tls";
import { readFileSync } from "node:fs";
import { after, before, describe, it } from "mocha";
import { delay, systemClock } from "../../lib/clock.ts";
import { WELCOME } from "../../node-agent/door/grant.ts";
import { encodeFrame, procedure, REMOTE_PROGRAM } from "../../node-agent/door/rpc.ts";
import { xdr } from "../../node-agent/door/xdr.ts";
import { HypervisorError } from "../../node-agent/libvirt/hypervisor.ts";
import { DidNotOpen, DoorPair, nodeUriOf, TRUST_DOMAIN } from "./door-pair.ts";
import type { Running } from "./door-pair.ts";
import { Authority } from "./pki.ts";
import type { CertificateFiles } from "./pki.ts";
import { CommandFailed, waitFor } from "./process.ts";

const SLOW_MIBPS = 8;

describe("the door of a handoff", function () {
  this.timeout(120_000);
  let pair: DoorPair;

  before(async () => {
    pair = await DoorPair.start();
  });
  afterEach(function () {
    if (this.currentTest?.state === "failed") process.stderr.write(pair.log());
  });
  after(async () => {
    await pair?.[Symbol.asyncDispose]();
  });

  it("is the only thing that listens, and a guest moves through it", async () => {
    const uuid = await pair.boot("mover");
    const door = await pair.door("mover");
    const passage = await pair.passage(door);
    const listening = (await pair.host("b").run("ss", ["-H", "-l", "-t", "-n"])).trim().split("\n");
    assert.equal(listening.length, 1);
    assert.ok(listening[0]!.includes(door.standing.address), listening[0]);
    const before = await pair.a.tick("mover");
    await pair.a.hypervisor.migrate(uuid, await pair.options(uuid, passage.standing.address));
    await pair.b.stands(uuid, "running/migrated");
    assert.equal(await pair.a.hypervisor.get(uuid), undefined);
    assert.equal((await pair.b.hypervisor.get(uuid))?.persistent, true);
    const after = await pair.b.tick("mover", ({ count }) => count >= before.count);
    assert.equal(after.boot, before.boot);
    await waitFor("the passage to end by itself", () => passage.pid === undefined || undefined);
    door.signal("SIGTERM");
    await waitFor("the door to be gone", () => door.pid === undefined || undefined);
    await assert.rejects(pair.passage(door), DidNotOpen);
    assert.equal((await pair.host("b").run("ss", ["-H", "-l", "-t", "-n"])).includes(door.standing.address), false);
  });

  it("lets the granted source neither list, define nor destroy anything", async () => {
    const here = await pair.b.hypervisor.define(pair.intendedXml("native", 9));
    await pair.b.hypervisor.create(here);
    const door = await pair.door("guest1");
    for (const command of [["list", "--all"], ["destroy", here], ["undefine", here], ["dumpxml", here], ["capabilities"], ["net-list"], ["nodeinfo"], ["suspend", here]]) {
      const passage = await pair.passage(door);
      await assert.rejects(pair.host("a").run("virsh", ["-c", `qemu+unix:///system?socket=${pathOf(passage)}`, ...command], { timeoutMs: 20_000 }), CommandFailed, command.join(" "));
      await waitFor("the passage to end", () => passage.pid === undefined || undefined);
    }
    assert.equal((await pair.b.hypervisor.get(here))?.state, "running");
    assert.match(pair.log(), /Procedure \d+ is not served/);
    for (const call of [3, 12, 109, 305, 212]) assert.match(await answerTo(door, call), /^closed$/, `procedure ${call}`);
    await pair.b.hypervisor.destroy(here);
    await pair.b.hypervisor.undefine(here);
    door.signal("SIGTERM");
  });

  it("takes no other certificate, and no certificate at all", async () => {
    const door = await pair.door("guest2");
    const names = [`${pair.uid.a}.node.${TRUST_DOMAIN}`];
    const foreign = await Authority.create("drover");
    const wrong: [string, CertificateFiles][] = [
      ["another node", await pair.certificate(nodeUriOf(pair.uid.b, 1))],
      ["an earlier incarnation", await pair.node("a", 2)],
      ["the migration certificate", await pair.certificate(`spiffe://${TRUST_DOMAIN}/migration/${pair.uid.a}/1`, names)],
      ["a user", await pair.certificate(`spiffe://${TRUST_DOMAIN}/user/root`)],
      ["another trust domain", await pair.certificate(`spiffe://elsewhere/node/${pair.uid.a}/1`)],
      ["another authority", await pair.certificate(nodeUriOf(pair.uid.a, 1), names, foreign)],
    ];
    for (const [who, files] of wrong) assert.equal(await answerTo(door, procedure.AUTH_LIST, files), "closed", who);
    assert.equal(await answerTo(door, procedure.AUTH_LIST, "none"), "closed", "nobody");
    assert.equal(await answerTo(door, procedure.AUTH_LIST), "answered", "the granted one");
    await assert.rejects(pair.passage(door, { peer: nodeUriOf(pair.uid.b, 2) }), /certificate is for/);
    await assert.rejects(pair.passage(door, { serverName: `${pair.uid.a}.node.${TRUST_DOMAIN}` }), /Cannot reach/);
    door.signal("SIGTERM");
    await waitFor("the door to be gone", () => door.pid === undefined || undefined);
    assert.equal(await answerTo(door, procedure.AUTH_LIST), "closed", "without a grant");
  });

  it("takes in no other domain than the intended one", async () => {
    const uuid = await pair.boot("bender");
    const door = await pair.door("bender");
    const evil: [string, (xml: string) => string][] = [
      ["a disk of the host's", (xml) => xml.replace("</devices>", "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/etc/shadow'/><target dev='vdz' bus='virtio'/></disk></devices>")],
      ["another log", (xml) => xml.replaceAll("bender.log", "../other.log")],
      ["QEMU's own arguments", (xml) => xml.replace("<domain ", "<domain xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0' ").replace("</domain>", "<qemu:commandline><qemu:arg value='-S'/></qemu:commandline></domain>")],
      ["a device of the host's", (xml) => xml.replace("</devices>", "<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='0' slot='0' function='0'/></source></hostdev></devices>")],
      ["more memory", (xml) => xml.replaceAll(">131072<", ">1310720<")],
      ["a directory of the host's", (xml) => xml.replace("</devices>", "<filesystem type='mount'><source dir='/'/><target dir='x'/></filesystem></devices>")],
      ["another epoch", (xml) => xml.replace(/epoch="\d+"/, 'epoch="99"')],
    ];
    for (const [what, bend] of evil) {
      const passage = await pair.passage(door);
      const options = await pair.options(uuid, pathOf(passage));
      await assert.rejects(pair.a.hypervisor.migrate(uuid, { ...options, destinationXml: bend(options.destinationXml) }), HypervisorError, what);
      assert.equal(await pair.b.hypervisor.get(uuid), undefined, what);
      assert.equal((await pair.a.hypervisor.get(uuid))?.state, "running", what);
    }
    const passage = await pair.passage(door);
    const options = await pair.options(uuid, pathOf(passage));
    const bent = options.persistentXml.replace("</devices>", "<disk type='file' device='disk'><source file='/etc/shadow'/><target dev='vdz' bus='virtio'/></disk></devices>");
    // The definition that is to stay comes with the last call: cut there, the guest goes on where it was.
    await pair.a.hypervisor.migrate(uuid, { ...options, persistentXml: bent }).catch(() => undefined);
    await waitFor("b to have nothing of it", async () => (await pair.b.hypervisor.get(uuid)) === undefined || undefined);
    await pair.a.stands(uuid, "running/migration-canceled");
    await pair.a.hypervisor.destroy(uuid);
    door.signal("SIGTERM");
  });

  it("that is killed in mid-migration leaves the guest where it was", async () => {
    const uuid = await pair.boot("broken");
    const door = await pair.door("broken");
    const passage = await pair.passage(door);
    const options = await pair.options(uuid, pathOf(passage));
    const ended = pair.a.hypervisor.migrate(uuid, { ...options, bandwidthMiBps: SLOW_MIBPS }).then(() => "moved", (error: unknown) => error);
    await waitFor("memory to move", async () => ((await pair.a.hypervisor.job(uuid)).memoryProcessedBytes ?? 0) > 0 || undefined);
    door.signal("SIGKILL");
    assert.ok((await ended) instanceof HypervisorError);
    await waitFor("b to have nothing of it", async () => (await pair.b.hypervisor.get(uuid)) === undefined || undefined);
    assert.equal((await pair.a.hypervisor.get(uuid))?.state, "running");

    const second = await pair.door("broken");
    const way = await pair.passage(second);
    const again = await pair.options(uuid, pathOf(way));
    const moved = pair.a.hypervisor.migrate(uuid, { ...again, bandwidthMiBps: SLOW_MIBPS * 4 });
    await delay(systemClock, 500);
    // A door that is closed lets go on what has begun.
    second.signal("SIGTERM");
    await moved;
    await pair.b.stands(uuid, "running/migrated");
    await waitFor("the door to be gone", () => second.pid === undefined || undefined);
  });

  const pathOf = ({ standing }: Running): string => standing.address;

  /** What comes of one call with nothing in it, from outside the hosts. */
  async function answerTo(door: Running, called: number, files: CertificateFiles | "granted" | "none" = "granted"): Promise<"answered" | "closed"> {
    const { hostname, port } = new URL(`tcp://${door.standing.address}`);
    const own = files === "granted" ? await pair.node("a") : files;
    return new Promise((resolve) => {
      const socket = connect({
        host: hostname, port: Number(port), servername: `${pair.uid.b}.node.${TRUST_DOMAIN}`, rejectUnauthorized: false,
        ...(own !== "none" && { cert: readFileSync(own.cert), key: readFileSync(own.key) }),
      });
      socket.on("error", () => resolve("closed")).on("close", () => resolve("closed"));
      let bytes = 0;
      socket.on("data", (data) => {
        bytes += data.length;
        if (bytes === WELCOME.length) return;
        resolve("answered");
        socket.destroy();
      });
      const frame = { program: REMOTE_PROGRAM, version: 1, type: 0, serial: 0, status: 0 };
      const open = { ...frame, procedure: procedure.CONNECT_OPEN, body: Buffer.concat([xdr.uint(1), xdr.string("qemu:///system"), xdr.uint(0)]) };
      if (called !== procedure.AUTH_LIST) socket.on("secureConnect", () => socket.removeAllListeners("data").on("data", () => undefined)).write(encodeFrame(open));
      socket.write(encodeFrame({ ...frame, procedure: called, serial: 1, body: Buffer.alloc(0) }));
    });
  }
});
