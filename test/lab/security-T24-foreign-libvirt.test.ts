/** T24: whoever took over one host, with its node's certificate, and wants the machines, or the root, of another one. */
import assert from "node:assert/strict";
import { createConnection } from "node:net";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { DidNotOpen, DoorPair, nodeUriOf, TRUST_DOMAIN } from "./door-pair.ts";
import type { Running } from "./door-pair.ts";
import { CommandFailed, waitFor } from "./process.ts";

/** libvirt's own ports, in the clear and with TLS. */
const LIBVIRT_PORTS = [16_509, 16_514];

describe("T24: one host's certificate and another host's libvirt", function () {
  this.timeout(120_000);
  let pair: DoorPair;
  let victim: string;
  before(async () => {
    pair = await DoorPair.start();
    victim = await pair.b.hypervisor.define(pair.intendedXml("victim", 1));
    await pair.b.hypervisor.create(victim);
  });
  afterEach(function () {
    if (this.currentTest?.state === "failed") process.stderr.write(pair.log());
  });
  after(() => pair?.[Symbol.asyncDispose]());

  const attempts = () => [["list", "--all"], ["destroy", victim], ["undefine", victim], ["dumpxml", victim], ["shutdown", victim], ["pool-list"], ["capabilities"]];
  const virsh = (uri: string, command: readonly string[]) => pair.host("a").run("virsh", ["-c", uri, ...command], { timeoutMs: 20_000 });
  const stands = async () => assert.deepEqual([(await pair.b.hypervisor.get(victim))?.state, (await pair.b.hypervisor.get(victim))?.persistent], ["running", true]);

  it("opens nothing without a grant: no libvirtd and no door listens", async () => {
    assert.equal((await pair.host("b").run("ss", ["-H", "-l", "-t", "-n"])).trim(), "");
    for (const port of LIBVIRT_PORTS) assert.equal(await knock(pair.host("b").address, port), "refused");
    for (const uri of [`qemu+tls://${pair.host("b").address}/system`, `qemu+tcp://${pair.host("b").address}/system`]) {
      for (const command of attempts()) await assert.rejects(virsh(uri, command), CommandFailed, `${uri} ${command.join(" ")}`);
    }
    await stands();
  });

  it("opens the door of its own grant, and through it neither sees nor touches any machine there", async () => {
    const door = await pair.door("granted");
    for (const command of attempts()) {
      const passage = await pair.passage(door);
      await assert.rejects(virsh(`qemu+unix:///system?socket=${passage.standing.address}`, command), CommandFailed, command.join(" "));
      await waitFor("the passage to end", () => passage.pid === undefined || undefined);
    }
    await stands();
    await closed(door);
  });

  it("opens no door of another's grant, under no name that it can take", async () => {
    const door = await pair.door("granted");
    const own = [`${pair.uid.a}.node.${TRUST_DOMAIN}`];
    const wrong = {
      "a node that the grant does not name": await pair.certificate(nodeUriOf(pair.uid.b, 1), [`${pair.uid.b}.node.${TRUST_DOMAIN}`]),
      "the node as it was before it joined again": await pair.node("a", 2),
      "QEMU's certificate of the granted node": await pair.certificate(`spiffe://${TRUST_DOMAIN}/migration/${pair.uid.a}/1`, own),
      "the controller": await pair.certificate(`spiffe://${TRUST_DOMAIN}/controller`, own),
      "a user called as the node": await pair.certificate(`spiffe://${TRUST_DOMAIN}/user/${pair.uid.a}`, own),
    };
    for (const [who, tls] of Object.entries(wrong)) {
      const opened = await pair.passage(door, { tls }).catch((error: unknown) => error);
      if (opened instanceof DidNotOpen) continue;
      const { standing } = opened as Running;
      await assert.rejects(virsh(`qemu+unix:///system?socket=${standing.address}`, ["list"]), CommandFailed, who);
    }
    await stands();
    await closed(door);
  });

  it("is no more when the grant is over: the door is gone, and nothing of it is left to knock at", async () => {
    const door = await pair.door("granted");
    const { hostname, port } = new URL(`tcp://${door.standing.address}`);
    await closed(door);
    assert.equal(await knock(hostname, Number(port)), "refused");
    await assert.rejects(pair.passage(door), DidNotOpen);
    assert.deepEqual(readdirSync(join(pair.host("b").localDirectory, "doors")).filter((name) => name.endsWith(".sock")), []);
    await stands();
  });

  async function closed(door: Running): Promise<void> {
    door.signal("SIGTERM");
    await waitFor("the door to be gone", () => door.pid === undefined || undefined);
  }
});

function knock(host: string, port: number): Promise<"refused" | "open"> {
  return new Promise((resolve) => {
    const socket = createConnection({ host, port });
    socket.on("connect", () => resolve("open")).on("error", () => resolve("refused")).on("connect", () => socket.destroy());
  });
}
