/** T11: a tenant who has the server or a host fetch an address for him. No part of Drover fetches anything that a tenant names. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { readdirSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { Status } from "nice-grpc";
import type { ClientError } from "nice-grpc";
import type { VirtualMachine } from "../../gen/drover/v1/virtual_machine.ts";
import { delay, systemClock } from "../../lib/clock.ts";
import { changed, wholeMachine } from "../contract/api-machine.ts";
import type { MachineSpec } from "../contract/api-machine.ts";
import { ONCE } from "../contract/auth-server.ts";
import { fields, nameOf, within } from "./descriptors.ts";
import { startInstalled } from "./server.ts";
import type { Clients, Installed } from "./server.ts";

const ROOT = join(import.meta.dirname, "../..");
const HIDDEN = ["169.254.169.254", "[::1]", "[::ffff:7f00:1]", "0x7f.1", "2130706433", "localhost"];

describe("T11: a request that is forged through an address of an image", function () {
  this.timeout(60_000);
  let server: Installed;
  let tenant: Clients;
  let heard = 0;
  const trap = createServer((socket) => {
    heard += 1;
    socket.destroy();
  });
  let port = 0;
  before(async () => {
    trap.listen(0, "127.0.0.1");
    await once(trap, "listening");
    ({ port } = trap.address() as AddressInfo);
    server = await startInstalled();
    await server.bind("tenant", "operator", ["default"]);
    tenant = await server.as("tenant");
  });
  after(async () => {
    trap.close();
    await server?.[Symbol.asyncDispose]();
  });

  it("has no field for an address: of all that a machine may say, none is a URL, a host or a port", () => {
    const named = [...within("drover.v1.VirtualMachine"), ...within("drover.v1.Volume")].filter(({ name }) => /url|uri|host$|server|endpoint|port$|proxy|mirror|registry|http/.test(name)).map(nameOf);
    // What a node reports of its own migration's way is no tenant's to write.
    assert.deepEqual(named, []);
    assert.deepEqual(fields.map(nameOf).filter((name) => /image_?url|source_?url|download|registry/.test(name)), []);
  });

  const bend: [string, (spec: MachineSpec, text: string) => void][] = [
    ["image", (spec, text) => Object.assign(disk(spec), { image: text })],
    ["base image", (spec, text) => Object.assign(disk(spec), { baseImage: text })],
    ["pool", (spec, text) => Object.assign(disk(spec), { pool: text })],
    ["kernel", (spec, text) => Object.assign(spec.domain!.firmware!.kernelBoot!, { kernel: text })],
    ["initrd", (spec, text) => Object.assign(spec.domain!.firmware!.kernelBoot!, { initrd: text })],
    ["kernel's pool", (spec, text) => Object.assign(spec.domain!.firmware!.kernelBoot!, { pool: text })],
    ["libvirt network", (spec, text) => Object.assign(spec.networks[1]!.source!, { value: { networkName: text } })],
  ];
  const disk = (spec: MachineSpec) => {
    const { source } = spec.volumes[0]!;
    return source?.$case === "disk" ? source.value : assert.fail();
  };
  const end = (virtualMachine: VirtualMachine) => tenant.machines.createVirtualMachine({ ...ONCE, virtualMachine }).then(() => "OK", (error: ClientError) => Status[error.code]!);

  it("is refused in every place that names a file or a network, and nobody connects anywhere", async () => {
    assert.equal(await end({ ...wholeMachine({ name: "good" }) }), "OK", "the machine that the cases bend");
    for (const host of [...HIDDEN, "127.0.0.1"]) {
      for (const text of [`http://${host}:${port}/x`, `https://${host}:${port}/x`, `nbd://${host}:${port}`, `nbd:${host}:${port}`, `//${host}:${port}/x`, `json:{"file.driver":"http","file.url":"http://${host}:${port}"}`]) {
        await Promise.all(bend.map(async ([where, apply]) => assert.equal(await end(changed((spec) => apply(spec, text))), "INVALID_ARGUMENT", `${where}: ${text}`)));
      }
    }
    await delay(systemClock, 300);
    assert.equal(heard, 0);
  });

  it("finds no code that fetches: only the issuers' keys come by HTTP, and their address is the administrator's", () => {
    const fetching = ["api-server", "controller", "node-agent", "lib"].flatMap((place) =>
      readdirSync(join(ROOT, place), { recursive: true, encoding: "utf8" })
        .filter((file) => file.endsWith(".ts") && /\bfetch\(|from "(node:)?https?"|createRemoteJWKSet|axios|undici/.test(readFileSync(join(ROOT, place, file), "utf8")))
        .map((file) => `${place}/${file}`));
    assert.deepEqual(fetching, ["api-server/auth/issuer-keys.ts"]);
  });
});
