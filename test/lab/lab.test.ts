/** The lab proves itself on real parts before anything stands on it. */
import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { readFile, truncate, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, it } from "mocha";
import { delay, systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { GUEST_DISK_RECORD_OFFSET, GUEST_READY, GUEST_TICK, guestDomainXml, REPOSITORY } from "./guest.ts";
import { Lab } from "./lab.ts";
import { linkExists } from "./network.ts";
import { identityOf, isAlive } from "./proc-table.ts";
import { CommandFailed, linesOf, Program, run, waitFor, waitForLineIn } from "./process.ts";
import { knownDirectories, readState } from "./state.ts";

const BOOT_TIMEOUT_MS = 40_000;

describe("lab", function () {
  this.timeout(60_000);
  let lab: Lab;

  before(async function () {
    if ((await Lab.unavailable()) !== undefined) this.skip();
    await Lab.sweep();
    await run(join(REPOSITORY, "scripts/guest.sh"), [], { timeoutMs: 180_000 }); // A first build downloads the kernel, which is no part of the start.
    lab = await Lab.start({ hosts: ["a", "b"] });
  });

  after(async () => {
    await lab?.[Symbol.asyncDispose]();
  });

  it("has two hosts, each with a libvirtd and an identity of its own", async () => {
    const uuids = await Promise.all(lab.hosts().map((host) => host.virsh("capabilities").then((xml) => /<uuid>(.*)<\/uuid>/.exec(xml)?.[1])));
    assert.equal(new Set(uuids).size, 2);
    assert.equal((await lab.host("a").virsh("hostname")).trim(), "a");
    assert.equal((await lab.host("b").run("hostname")).trim(), "b");
    assert.notEqual(lab.host("a").pid1, lab.host("b").pid1);
  });

  it("joins the hosts and the test by a network of their own", async () => {
    const { address } = lab.host("b");
    await lab.host("a").run("busybox", ["ping", "-c", "1", "-W", "2", address]);
    assert.equal((await lab.host("b").run("ss", ["-H", "-l", "-t", "-u", "-n"])).trim(), "", "something listens on the network");
  });

  it("shows every host the pool and each its own local directory", async () => {
    await writeFile(join(lab.poolDirectory, "shared"), "");
    for (const host of lab.hosts()) {
      await host.run("test", ["-e", join(lab.poolDirectory, "shared")]);
      await host.run("touch", [join(host.localMount, host.name)]);
      assert.deepEqual(readdirSync(host.localDirectory), [host.name]);
    }
  });

  it("boots a guest, moves it live over TLS, and its memory goes on", async () => {
    const [a, b] = [lab.host("a"), lab.host("b")];
    const disk = join(lab.poolDirectory, "g1.raw");
    await writeFile(disk, "");
    await truncate(disk, 8 << 20);
    await define("g1", disk);
    await a.virsh("create", join(lab.poolDirectory, "g1.xml"));
    const console = join(a.localDirectory, "g1.log");
    const [, bootId] = await waitForLineIn(console, GUEST_READY, { timeoutMs: BOOT_TIMEOUT_MS });
    await waitForLineIn(console, /tick 3 /);

    // "Unsafe" only because libvirt cannot know that the pool is one directory for both hosts.
    await a.virsh("migrate", "--live", "--p2p", "--tls", "--unsafe", "g1", b.directUri, "--migrateuri", `tcp://${b.address}`);

    assert.equal((await a.virsh("list", "--name")).trim(), "");
    assert.equal((await b.virsh("list", "--name")).trim(), "g1");
    const [, first, , bootIdAfter] = await waitForLineIn(join(b.localDirectory, "g1.log"), GUEST_TICK);
    assert.equal(bootIdAfter, bootId);
    const lastOnA = linesOf(console).map((line) => GUEST_TICK.exec(line)?.[1]).findLast((count) => count !== undefined);
    assert.ok(Math.abs(Number(first) - Number(lastOnA)) <= 1, `the count went from ${lastOnA} to ${first}`);
    const count = await diskCount(disk, bootId!);
    await waitFor("the guest to write its disk from b", async () => (await diskCount(disk, bootId!)) > count || undefined);
    await b.virsh("shutdown", "g1");
    await waitForLineIn(join(b.localDirectory, "g1.log"), /DROVER-GUEST-SHUTDOWN/);
    await waitFor("the guest to end", async () => (await b.virsh("list", "--name")).trim() === "" || undefined);
  });

  it("keeps guests through the death and the freeze of their daemon", async () => {
    const a = lab.host("a");
    const { libvirtd } = a;
    await define("g2");
    await a.virsh("create", join(lab.poolDirectory, "g2.xml"));
    const before = libvirtd.pid()!;
    await libvirtd.kill("SIGKILL");
    assert.equal(libvirtd.pid(), undefined);
    await assert.rejects(a.virsh("version"), CommandFailed);
    await libvirtd.start();
    assert.notEqual(libvirtd.pid(), before);
    assert.equal((await a.virsh("list", "--name")).trim(), "g2");

    libvirtd.stop();
    await assert.rejects(run("virsh", ["-c", a.uri, "version"], { timeoutMs: 500 }), CommandFailed);
    libvirtd.cont();
    await a.virsh("version");
  });

  it("cuts a link, one way or both, and mends it", async () => {
    const [a, b] = [lab.host("a"), lab.host("b")];
    const reaches = () => a.run("busybox", ["ping", "-c", "1", "-W", "1", b.address]).then(() => true, () => false);
    const receivedByB = async () => Number((await b.run("cat", ["/proc/net/snmp"])).match(/^Icmp: \d.*$/m)![0].split(" ")[1]);
    for (const [direction, requestArrives] of [["both", false], ["from-host", false], ["to-host", true]] as const) {
      const received = await receivedByB();
      await a.cutLink(direction);
      assert.equal(await reaches(), false, direction);
      assert.equal((await receivedByB()) > received, requestArrives, direction);
      await a.restoreLink();
      assert.ok(await waitFor("the link to carry", async () => (await reaches()) || undefined));
    }
  });

  it("runs programs on a host, freezes them with it and ends them with its power", async () => {
    const a = lab.host("a");
    const script = "i=0; while :; do i=$((i+1)); echo count $i $WORD; sleep 0.05; done";
    const program = await a.spawn("sh", ["-c", script], { logFile: join(lab.directory, "count.log"), env: { WORD: "word" } });
    await program.waitForLine(/^count 3 word$/);
    await a.freeze();
    const frozen = program.lines().length;
    await delay(systemClock, 300);
    assert.equal(program.lines().length, frozen);
    a.thaw();
    await program.waitForLine(new RegExp(`^count ${frozen + 3} word$`));

    const identities = a.pids().map((pid) => identityOf(pid)!);
    assert.ok(identities.length >= 4, "pid 1, its waiter, libvirtd, QEMU and the program");
    const bootBefore = identityOf(a.pid1);
    await a.powerOff();
    await program.exited;
    assert.deepEqual(identities.filter(isAlive), []);
    assert.equal(existsSync(`/proc/${bootBefore!.pid}`), false);
    assert.equal(await linkExists(`dv${readState(lab.directory)!.runId}-0`), false);

    await a.powerOn();
    assert.notDeepEqual(identityOf(a.pid1), bootBefore);
    assert.equal((await a.virsh("list", "--all", "--name")).trim(), "");
  });

  it("leaves nothing when its maker is killed", async () => {
    const script = `import { Lab } from ${JSON.stringify(join(import.meta.dirname, "lab.ts"))};
      const lab = await Lab.start({ hosts: ["x"] });
      await lab.spawn("sleep", ["1000"], { logFile: lab.directory + "/sleep.log" });
      console.log("directory", lab.directory);
      setInterval(() => {}, 1000);`;
    const logFile = join(lab.directory, "maker.log");
    const maker = await Program.start({ command: process.execPath, args: ["--input-type=module", "-e", script], logFile });
    const directory = (await maker.waitForLine(/^directory (.*)$/))[1]!;
    const state = readState(directory)!;
    assert.ok(state.processes.length === 2 && state.processes.every(isAlive), "the guard and the sleeper run");
    maker.kill("SIGKILL");
    await assertGone(directory, state);
  });

  it("leaves nothing when it is destroyed by its record", async () => {
    const other = await Lab.start({ hosts: ["a"] });
    const state = readState(other.directory)!;
    assert.notEqual(other.subnet, lab.subnet);
    // A stopped program would keep its namespace, for what led to it is stopped with it and reaps nothing.
    const sleeper = await other.host("a").spawn("sleep", ["1000"], { logFile: join(other.directory, "sleep.log") });
    sleeper.kill("SIGSTOP");
    await Lab.destroy(other.directory);
    await Lab.destroy(other.directory);
    await assertGone(other.directory, state);
  });

  async function define(name: string, diskPath?: string): Promise<void> {
    const consoleLog = join(lab.directory, "local", `${name}.log`);
    const xml = guestDomainXml({ name, uuid: systemRandom.uuid(), guest: lab.guest, consoleLog, ...(diskPath ? { diskPath } : {}) });
    await writeFile(join(lab.poolDirectory, `${name}.xml`), xml);
  }
});

async function diskCount(disk: string, bootId: string): Promise<number> {
  const record = (await readFile(disk)).subarray(GUEST_DISK_RECORD_OFFSET, GUEST_DISK_RECORD_OFFSET + 512).toString();
  const match = /^drover-guest boot=(\S+) count=(\d+)/.exec(record);
  assert.equal(match?.[1], bootId);
  return Number(match![2]);
}

async function assertGone(directory: string, state: NonNullable<ReturnType<typeof readState>>): Promise<void> {
  const processes = [...state.processes, ...state.hosts.flatMap((host) => host.processes)];
  await waitFor("the lab to be gone", () => !existsSync(directory) && !knownDirectories().has(directory) && !processes.some(isAlive) || undefined, {
    timeoutMs: 10_000,
  });
  for (const link of [state.bridge, ...state.hosts.map((host) => host.link)]) assert.equal(await linkExists(link), false, link);
  assert.ok(!readFileSync("/proc/self/mounts", "utf8").includes(directory), "a mount is left");
}
