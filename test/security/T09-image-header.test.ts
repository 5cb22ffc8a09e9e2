/** T9: an image whose header would have QEMU open something else, or read it as something else; from outside, or from a guest. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { closeSync, openSync, readFileSync, readdirSync, writeFileSync, writeSync } from "node:fs";
import { DiskFormat } from "../../gen/drover/v1/machine.ts";
import { runCommand } from "../../node-agent/storage/command.ts";
import { Sandbox } from "../../node-agent/storage/sandbox.ts";
import { attackedPool } from "./pool.ts";

type Pool = ReturnType<typeof attackedPool>;

describe("T9: an image's header", function () {
  this.timeout(120_000);

  const patch = (path: string, offset: number, bytes: number[] | string) => {
    const file = openSync(path, "r+");
    writeSync(file, typeof bytes === "string" ? Buffer.from(bytes) : Buffer.from(bytes), 0, bytes.length, offset);
    closeSync(file);
  };
  const secret = ["--object", "secret,id=s,data=abc"];
  const recipes: [string, string, (pool: Pool) => void][] = [
    ["that names a file of the host as its base", "UnsafeImage", ({ qemuImg, canary }) => qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", canary, "-F", "raw", "x", "1M")],
    ["that leaves its base's format to be guessed", "UnsafeImage", ({ qemuImg, image, canary }) => {
      qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", canary, "-F", "raw", "x", "1M");
      patch(image("x"), readFileSync(image("x")).indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca])), [0, 0, 0, 1]);
    }],
    ["whose base is JSON of QEMU's", "UnsafeImage", ({ qemuImg }) => qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", 'json:{"driver":"nbd","host":"127.0.0.1"}', "-F", "raw", "x", "1M")],
    ["whose base is on the network", "UnsafeImage", ({ qemuImg }) => qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", "nbd://127.0.0.1/x", "-F", "raw", "x", "1M")],
    ["whose data is another file", "UnsafeImage", ({ qemuImg, image, path }) => {
      // Made with a file of its own, which is then another one.
      qemuImg("create", "-q", "-f", "qcow2", "-o", `data_file=${path}/aside0`, "x", "64k");
      const at = readFileSync(image("x")).indexOf(`${path}/aside0`);
      patch(image("x"), at, "/etc/passwd".padEnd(`${path}/aside0`.length, "\0"));
    }],
    ["that is encrypted with LUKS", "UnsafeImage", ({ qemuImg }) => qemuImg("create", "-q", ...secret, "-f", "qcow2", "-o", "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10", "x", "1M")],
    ["that says it is encrypted the old way", "UnsafeImage", ({ qemuImg, image }) => {
      qemuImg("create", "-q", "-f", "qcow2", "x", "1M");
      patch(image("x"), 32, [0, 0, 0, 1]);
    }],
    ["with features that nobody knows", "UnsafeImage", ({ qemuImg, image }) => {
      qemuImg("create", "-q", "-f", "qcow2", "x", "1M");
      patch(image("x"), 72, [0xff]);
    }],
    ["that is cut off", "UnsafeImage", ({ image }) => writeFileSync(image("x"), Buffer.from("QFI\xfb\0\0\0\x03", "latin1"))],
    ["of VMDK with an extent of the host's", "FormatMismatch", ({ image, canary }) => writeFileSync(image("x"), `# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType="monolithicFlat"\nRW 256 FLAT "${canary}" 0\n`)],
    ["of VMDK", "FormatMismatch", ({ qemuImg }) => qemuImg("create", "-q", "-f", "vmdk", "x", "1M")],
    ["of VDI", "FormatMismatch", ({ qemuImg }) => qemuImg("create", "-q", "-f", "vdi", "x", "1M")],
    ["of VPC", "FormatMismatch", ({ qemuImg }) => qemuImg("create", "-q", "-f", "vpc", "x", "1M")],
    ["of VHDX", "FormatMismatch", ({ qemuImg }) => qemuImg("create", "-q", "-f", "vhdx", "x", "8M")],
    ["of QED with a base", "FormatMismatch", ({ qemuImg, canary }) => qemuImg("create", "-q", "-u", "-f", "qed", "-b", canary, "-F", "raw", "x", "1M")],
    ["of Parallels", "FormatMismatch", ({ qemuImg }) => qemuImg("create", "-q", "-f", "parallels", "x", "1M")],
    ["of LUKS", "FormatMismatch", ({ qemuImg }) => qemuImg("create", "-q", ...secret, "-f", "luks", "-o", "key-secret=s,iter-time=10", "x", "1M")],
  ];
  for (const [what, fault, make] of recipes) {
    it(`is refused ${what}, as a disk, as a base and by a migration's target`, async () => {
      using pool = attackedPool();
      make(pool);
      assert.equal(await pool.end({ image: "x" }), fault);
      assert.equal(await pool.end({ image: "own", baseImage: "x" }), fault);
      await assert.rejects(pool.receive({ image: "x" }), { fault });
      if (fault === "FormatMismatch") assert.equal(await pool.end({ image: "x", format: DiskFormat.RAW }), fault, "as a raw one");
      pool.checkCanary();
      assert.ok(!readdirSync(pool.path).includes("own"));
    });
  }

  it("is looked into anew after the guest has had the disk: at each start, and by a migration's target", async () => {
    using pool = attackedPool();
    assert.equal(await pool.end({ image: "x", size: "1Mi" }), "OK");
    assert.equal(await pool.end({ image: "x" }), "OK");
    // What a guest can do who has got out into its QEMU, which may write all of the file.
    pool.qemuImg("rebase", "-u", "-f", "qcow2", "-b", pool.canary, "-F", "raw", "x");
    assert.equal(await pool.end({ image: "x" }), "UnsafeImage");
    await assert.rejects(pool.receive({ image: "x" }), { fault: "UnsafeImage" });
    pool.checkCanary();
  });

  it("is not believed when a guest writes one onto its raw disk", async () => {
    using pool = attackedPool();
    const disk = { image: "x", format: DiskFormat.RAW };
    assert.equal(await pool.end({ ...disk, size: "2Mi" }), "OK");
    pool.qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", pool.canary, "-F", "raw", "evil", "1M");
    patch(pool.image("x"), 0, [...readFileSync(pool.image("evil")).subarray(0, 65_536)]);
    assert.equal(await pool.end(disk), "FormatMismatch");
    assert.equal(await pool.end({ image: "x" }), "UnsafeImage", "declared anew as what the guest made of it");
    pool.checkCanary();
  });

  it("is read by a process that is nobody, may nothing, and has no network", async function () {
    if (process.getuid!() !== 0) return this.skip();
    const { program, args } = await new Sandbox(runCommand).around(["sh", "-c", "id -u; id -G; grep -E '^(NoNewPrivs|Cap(Inh|Prm|Eff|Bnd|Amb)):' /proc/self/status; cat /proc/net/dev; ulimit -f; ulimit -t"]);
    const said = (await runCommand({ program, args, timeoutMs: 10_000 })).replaceAll("\t", " ").split("\n");
    assert.deepEqual(said.slice(0, 2), ["65534", "65534"]);
    assert.deepEqual(said.filter((line) => line.startsWith("Cap")).map((line) => line.split(" ")[1]), Array(5).fill("0000000000000000"));
    assert.ok(said.includes("NoNewPrivs: 1"));
    assert.deepEqual(said.filter((line) => line.includes(":") && !/^(Cap|NoNew)/.test(line)).map((line) => line.split(":")[0]!.trim()), ["lo"]);
    assert.deepEqual(said.slice(-3, -1), ["0", "10"]);
  });

  it("is read over a socket: the process has no image, no pool and no directory of the agent's open", async function () {
    if (process.getuid!() !== 0) return this.skip();
    using pool = attackedPool();
    pool.qemuImg("create", "-q", "-f", "qcow2", "x", "1M");
    const trace = `${pool.directory}/trace`;
    const agent = `
      const { attackedPool } = await import(${JSON.stringify(new URL("./pool.ts", import.meta.url).href)});
      const { ImageReader } = await import(${JSON.stringify(new URL("../../node-agent/storage/image-reader.ts", import.meta.url).href)});
      const { runCommand } = await import(${JSON.stringify(new URL("../../node-agent/storage/command.ts", import.meta.url).href)});
      const { open } = await import("node:fs/promises");
      const traced = (command) => runCommand({ ...command, program: "strace", args: ["-f", "-e", "trace=openat,open,connect", "-o", ${JSON.stringify(trace)}, command.program, ...command.args] });
      await using file = await open(${JSON.stringify(pool.image("x"))});
      process.stdout.write(JSON.stringify(await new ImageReader(traced).read({ name: "x", file, format: "qcow2" })));`;
    const header = JSON.parse(execFileSync(process.execPath, ["--input-type=module", "-e", agent], { encoding: "utf8" })) as { virtualSizeBytes: number };
    assert.equal(header.virtualSizeBytes, 1 << 20);
    const calls = readFileSync(trace, "utf8");
    assert.match(calls, /openat/);
    assert.ok(!calls.includes(pool.directory) && !calls.includes("/proc/self/fd/3"), calls);
    assert.doesNotMatch(calls, /connect\(\d+, \{sa_family=AF_INET/);
  });
});
