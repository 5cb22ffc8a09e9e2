/** A guest's console as a stream through libvirt: both ways, one at a time, bounded, and every way in which it ends. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { delay, systemClock } from "../../lib/clock.ts";
import { systemRandom } from "../../lib/random.ts";
import { HypervisorError } from "../../node-agent/libvirt/hypervisor.ts";
import type { ConsoleStream } from "../../node-agent/libvirt/hypervisor.ts";
import { DriverHost } from "./driver-host.ts";
import { GUEST_READY, guestDomainXml } from "./guest.ts";
import { Lab } from "./lab.ts";
import { childrenOf } from "./proc-table.ts";
import { waitFor } from "./process.ts";

const SAID_TIMEOUT_MS = 60_000;

/** What a console said, read all the time, until it ends. */
class Listener {
  said = "";
  readonly over: Promise<"ended" | HypervisorError>;
  constructor(console_: ConsoleStream) {
    this.over = this.#listen(console_).then(() => "ended" as const, (error: unknown) => error as HypervisorError);
  }

  hears(text: RegExp, timeoutMs = SAID_TIMEOUT_MS): Promise<RegExpExecArray> {
    return waitFor(`the console to say ${text}; it said ${JSON.stringify(this.said.slice(-300))}`, () => text.exec(this.said) ?? undefined, { timeoutMs });
  }

  async #listen(console_: ConsoleStream): Promise<void> {
    for await (const data of console_.read()) this.said += Buffer.from(data).toString("latin1");
  }
}

describe("a console through libvirt", function () {
  this.timeout(120_000);
  let lab: Lab;
  let a: DriverHost;

  before(async () => {
    lab = await Lab.start({ hosts: ["a"] });
    // Where libvirt keeps two users from one terminal; every system has it.
    await lab.host("a").run("mkdir", ["-p", "/run/lock"]);
    a = await DriverHost.connect(lab.host("a"));
  });
  after(async () => {
    await a?.[Symbol.asyncDispose]();
    assert.deepEqual(a?.faults ?? [], []);
    await lab?.[Symbol.asyncDispose]();
  });

  async function boot(serial = "pty") {
    const [name, uuid] = [`console-${systemRandom.token(6)}`, systemRandom.uuid()];
    const source = serial === "unix" ? `<source mode='bind' path='${join(lab.host("a").localMount, `${name}.sock`)}'/>` : "";
    const xml = guestDomainXml({ name, uuid, guest: lab.guest, consoleLog: "unused" })
      .replace(/<serial type='file'>.*?<\/serial>/, `<serial type='${serial}'>${source}<target port='0'/></serial>`);
    await a.hypervisor.define(xml);
    await a.hypervisor.create(uuid);
    return {
      uuid,
      async [Symbol.asyncDispose]() {
        await a.hypervisor.destroy(uuid).catch(() => undefined);
        await a.hypervisor.undefine(uuid);
      },
    };
  }

  const typed = (text: string) => Buffer.from(`${text}\r`);
  const isDriver = (pid: number) => readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("driver/main.ts");
  const driverDescriptors = () => readdirSync(`/proc/${childrenOf(process.pid).find(isDriver)}/fd`).length;

  it("shows what the guest says and takes what is typed", async () => {
    await using machine = await boot();
    const console_ = await a.hypervisor.openConsole(machine.uuid);
    const heard = new Listener(console_);
    await heard.hears(GUEST_READY);
    await console_.write(typed("echo $((6 * 7))-answered"));
    await heard.hears(/42-answered/);
    console_.close();
    assert.equal(await heard.over, "ended");
  });

  it("belongs to one at a time: a second one is refused, or takes it over", async () => {
    await using machine = await boot();
    const first = await a.hypervisor.openConsole(machine.uuid);
    const heard = new Listener(first);
    await assert.rejects(a.hypervisor.openConsole(machine.uuid), HypervisorError);
    const second = await a.hypervisor.openConsole(machine.uuid, { force: true });
    await Promise.race([heard.over, delay(systemClock, 10_000).then(() => assert.fail("the first one was not cut off"))]);
    await new Listener(second).hears(GUEST_READY);
    second.close();
    const third = await a.hypervisor.openConsole(machine.uuid, { force: true });
    third.close();
  });

  it("is refused where there is no guest, or its console is a socket, which has no need of libvirt", async () => {
    await using machine = await boot("unix");
    await assert.rejects(a.hypervisor.openConsole(machine.uuid), HypervisorError);
    await assert.rejects(a.hypervisor.openConsole(systemRandom.uuid()), (error) => error instanceof HypervisorError && error.kind === "no-domain");
  });

  it("carries a long output whole, and a long input", async () => {
    await using machine = await boot();
    const console_ = await a.hypervisor.openConsole(machine.uuid);
    const heard = new Listener(console_);
    await heard.hears(GUEST_READY);
    await console_.write(typed("stty -echo; seq 1 20000 | tr '\\n' ,; echo; echo all-$((1 + 1))-said"));
    await heard.hears(/all-2-said/);
    const numbers = /1,2,3,[\d,]*20000,/.exec(heard.said.replace(/tick [^\n]*\n/g, "").replace(/\r?\n/g, ""))?.[0] ?? "";
    assert.equal(numbers.split(",").filter((one, index) => one !== String(index + 1)).join(), "", "nothing is missing");
    await console_.write(Buffer.from(`wc -c <<'END'\r${"0123456789abcde\r".repeat(200)}END\r`));
    await heard.hears(/\b3200\b/);
    console_.close();
  });

  it("ends when its guest does", async () => {
    await using machine = await boot();
    const heard = new Listener(await a.hypervisor.openConsole(machine.uuid));
    await a.hypervisor.destroy(machine.uuid);
    await Promise.race([heard.over, delay(systemClock, 10_000).then(() => assert.fail("the console did not end"))]);
  });

  it("ends with an error when libvirtd is killed under it, leaves nothing behind, and can be opened again", async () => {
    await using machine = await boot();
    const before = driverDescriptors();
    const heard = new Listener(await a.hypervisor.openConsole(machine.uuid));
    await heard.hears(/./);
    const from = a.events.all.length;
    await lab.host("a").libvirtd.kill();
    const over = await heard.over;
    assert.ok(over instanceof HypervisorError && over.kind === "connection-lost", String(over));
    await lab.host("a").libvirtd.start();
    await a.events.next("connected", (event) => event.type === "connected", { from });
    const again = new Listener(await a.hypervisor.openConsole(machine.uuid, { force: true }));
    await again.hears(/tick|GUEST/);
    for (let round = 0; round < 20; round += 1) (await a.hypervisor.openConsole(machine.uuid, { force: true })).close();
    await waitFor(`the driver to hold ${before} descriptors again, not ${driverDescriptors()}`, () => driverDescriptors() <= before + 1 || undefined);
    assert.deepEqual(a.faults, []);
  });
});
