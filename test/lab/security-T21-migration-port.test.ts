/** T21: whoever comes to the port at which a QEMU awaits a guest's memory, while it awaits it. Real hosts, a real migration. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createConnection } from "node:net";
import type { Socket } from "node:net";
import { join } from "node:path";
import { connect } from "node:tls";
import { DoorPair, TRUST_DOMAIN } from "./door-pair.ts";
import { Authority, writeQemuPki } from "./pki.ts";
import { waitFor } from "./process.ts";

/** libvirt's own range for memory; the source's way to it is barred while the attackers try. */
const PORTS = "49152:49215";
const BARRED = ["OUTPUT", "-p", "tcp", "--dport", PORTS, "--syn", "-j", "DROP"];
/** How the stream of a guest's memory begins. */
const MAGIC = Buffer.from("5145564d00000003", "hex");
const PATIENCE_MS = 3_000;

describe("T21: the port of a migration", function () {
  this.timeout(120_000);
  let pair: DoorPair;
  before(async () => {
    pair = await DoorPair.start();
    // As an agent does it: QEMU knows an authority of its own, which signs for nobody else.
    const authority = await Authority.create("drover migration");
    for (const side of ["a", "b"] as const) {
      const names = [`${pair.uid[side]}.migration.${TRUST_DOMAIN}`];
      await writeQemuPki(join(pair.host(side).directory, "etc/pki/qemu"), authority, { commonName: side, uris: [uriOf(side)], names });
    }
  });
  afterEach(function () {
    if (this.currentTest?.state === "failed") process.stderr.write(pair.log());
  });
  after(() => pair?.[Symbol.asyncDispose]());

  const uriOf = (side: "a" | "b") => `spiffe://${TRUST_DOMAIN}/migration/${pair.uid[side]}/1`;
  const listening = async (): Promise<number[]> =>
    [...(await pair.host("b").run("ss", ["-H", "-l", "-t", "-n"])).matchAll(/:(\d+)\s/g)].map(([, port]) => Number(port));
  /** How the stranger's connection ends: QEMU must close it and say nothing but TLS's own alerts. */
  const ending = (socket: Socket, tell: () => void, heard: Buffer[] = []) =>
    new Promise<string>((resolve) => {
      const timer = setTimeout(() => resolve("open"), PATIENCE_MS);
      const done = (how: string) => {
        clearTimeout(timer);
        socket.destroy();
        resolve(how);
      };
      socket.on("data", (bytes) => heard.push(bytes)).on("error", () => done("closed")).on("close", () => done("closed"));
      tell();
    });

  it("is there for one migration only, and takes nothing from whoever shows no certificate of QEMU's", async () => {
    const host = pair.host("b").address;
    const uuid = await pair.boot("mover");
    const before = await pair.a.tick("mover");
    assert.deepEqual(await listening(), [], "nothing listens before");
    const door = await pair.door("mover");
    const passage = await pair.passage(door);
    const doorPort = Number(new URL(`tcp://${door.standing.address}`).port);
    await pair.host("a").run("iptables", ["-w", "-I", ...BARRED]);
    const moved = pair.a.hypervisor.migrate(uuid, await pair.options(uuid, passage.standing.address)).then(() => "moved", (error: unknown) => String(error));
    const [port] = await waitFor("QEMU to wait for memory", async () => {
      const ports = (await listening()).filter((one) => one !== doorPort);
      return ports.length > 0 ? ports : undefined;
    });
    const names = [`${pair.uid.a}.migration.${TRUST_DOMAIN}`];
    const strangers = {
      nobody: undefined,
      "somebody of another authority": await pair.certificate(uriOf("a"), names, await Authority.create("drover migration")),
      "the source's own agent": await pair.node("a"),
      "a user": await pair.certificate(`spiffe://${TRUST_DOMAIN}/user/alice`),
      "a user who is called as QEMU is": await pair.certificate(uriOf("a"), names),
    };
    const heard: Buffer[] = [];
    const plain = createConnection({ host, port: port! });
    assert.equal(await ending(plain, () => plain.write(MAGIC), heard), "closed", "in the clear");
    assert.equal(Buffer.concat(heard).includes("QEVM"), false);
    assert.ok((await listening()).includes(port!), "it was turned away, and QEMU waits on");
    for (const [who, files] of Object.entries(strangers)) {
      const socket = connect({ host, port: port!, rejectUnauthorized: false, ...(files && { cert: readFileSync(files.cert), key: readFileSync(files.key) }) });
      assert.equal(await ending(socket, () => socket.write(MAGIC)), "closed", who);
      assert.ok((await listening()).includes(port!), who);
    }
    await pair.host("a").run("iptables", ["-w", "-D", ...BARRED]);
    assert.equal(await moved, "moved", "the strangers did not even cost the attempt");
    await pair.b.stands(uuid, "running/migrated");
    const after = await pair.b.tick("mover", ({ count }) => count > before.count);
    assert.equal(after.boot, before.boot);
    door.signal("SIGTERM");
    await waitFor("nothing to listen after", async () => (await listening()).length === 0 || undefined);
  });

  it("is of libvirt and QEMU that are new enough to be trusted with it", async () => {
    const numbers = async (command: string) => (await pair.host("b").run(command, ["--version"])).match(/(\d+)\.(\d+)/)!.slice(1).map(Number) as [number, number];
    const [libvirt, qemu] = [await numbers("libvirtd"), await numbers("qemu-system-x86_64")];
    assert.ok(libvirt[0] >= 9, `libvirt ${libvirt.join(".")}`);
    assert.ok(qemu[0] > 7 || (qemu[0] === 7 && qemu[1] >= 2), `QEMU ${qemu.join(".")}`);
  });
});
