/** Secrets on the disk: what opens them, and what does not. */
import assert from "node:assert/strict";
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { systemRandom as random } from "../../../../lib/random.ts";
import { Secret } from "../../../../lib/secret.ts";
import { virtualMachines } from "../../../../api-server/kinds/table.ts";
import { openVault } from "../../../../api-server/records/key-file.ts";
import { StoreObjects } from "../../../../api-server/records/objects.ts";
import { isSealed, Vault } from "../../../../api-server/records/vault.ts";
import { MemoryStore } from "../../../../api-server/store/memory.ts";
import { DataLoss } from "../../../../api-server/store/store.ts";
import { callBy, machine, makeObjects, rules, schema, user } from "../fixture.ts";

const keyOf = (id: string, byte: number) => ({ id, key: new Secret(Buffer.alloc(32, byte)) });
const secretOf = (vm: ReturnType<typeof machine>) => {
  const { source } = vm.spec!.template!.spec!.volumes[1]!;
  return source?.$case === "cloudInitNoCloud" ? source.value.userData! : assert.fail();
};

describe("the vault", () => {
  it("opens what it closed, in its place alone, and no two look alike", () => {
    const vault = new Vault([keyOf("k1", 1)], random);
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => {
      const closed = vault.seal(text, "a\0u\0p");
      assert.equal(vault.open(closed, "a\0u\0p"), Buffer.from(text).toString());
      assert.ok(isSealed(closed));
    }));
    const closed = vault.seal("text", "a\0u\0p");
    assert.notEqual(vault.seal("text", "a\0u\0p"), closed);
    for (const place of ["b\0u\0p", "a\0v\0p", "a\0u\0q"]) assert.throws(() => vault.open(closed, place), DataLoss);
    const last = closed.at(-6) === "A" ? "B" : "A";
    assert.throws(() => vault.open(`${closed.slice(0, -6)}${last}${closed.slice(-5)}`, "a\0u\0p"), DataLoss);
    assert.equal(vault.open("#cloud-config of an older version", "a\0u\0p"), "#cloud-config of an older version");
  });

  it("closes by the newest key and opens by every one", () => {
    const old = new Vault([keyOf("k1", 1)], random).seal("text", "p");
    const both = new Vault([keyOf("k1", 1), keyOf("k2", 2)], random);
    assert.equal(both.open(old, "p"), "text");
    assert.match(both.seal("text", "p"), /^drover-sealed:1:k2:/);
    assert.throws(() => new Vault([keyOf("k2", 2)], random).open(old, "p"), /the key "k1" is missing/);
  });
});

describe("secrets of objects", () => {
  it("are closed in the store's bytes, open for those who may have them, and those of an older version are closed when they are next written", async () => {
    const { store, clock, objects } = await makeObjects();
    const canary = "canary-of-the-vault";
    await objects.create(virtualMachines, machine({ name: "old", userData: canary }), callBy(user));
    const vault = new Vault([keyOf("k1", 1)], random);
    const again = new StoreObjects({ store, schema, rules, clock, random, stopping: new AbortController().signal, vault });
    await again.create(virtualMachines, machine({ name: "new", userData: canary }), callBy(user));
    const plainIn = async () => (await store.list("virtualmachines/")).items.filter(({ value }) => Buffer.from(value).includes(canary)).map(({ key }) => key);
    assert.deepEqual(await plainIn(), ["virtualmachines/default/old"]);
    for (const name of ["old", "new"]) {
      assert.equal(secretOf(await again.revealed.get(virtualMachines, { name })).value, canary);
      assert.equal(secretOf(await again.get(virtualMachines, { name })).value, "");
      await again.change(virtualMachines, { name }, (vm) => ({ ...vm, metadata: { ...vm.metadata!, labels: { a: "b" } } }), callBy(user));
    }
    assert.deepEqual(await plainIn(), []);
    await assert.rejects(objects.revealed.get(virtualMachines, { name: "new" }).then((vm) => void secretOf(vm)), DataLoss);
  });

  it("print as ***, and so do those of the objects that they are in", async () => {
    const { objects } = await makeObjects();
    await objects.create(virtualMachines, machine({ userData: "canary" }), callBy(user));
    const vm = await objects.revealed.get(virtualMachines, { name: "web" });
    const { inspect } = await import("node:util");
    for (const shown of [JSON.stringify(vm), inspect(vm, { depth: 20 })]) {
      assert.ok(!shown.includes("canary") && shown.includes("***"), shown);
    }
    const secret = new Secret("canary");
    for (const shown of [String(secret), JSON.stringify({ secret }), inspect({ secret })]) assert.ok(!shown.includes("canary"), shown);
    assert.equal(secret.reveal(), "canary");
  });
});

describe("the file of keys", () => {
  let path = "";
  let store: MemoryStore;
  beforeEach(() => {
    path = join(mkdtempSync(join(tmpdir(), "drover-keys-")), "secrets.key");
    store = new MemoryStore({ identity: { storeId: "s", incarnation: "i" } });
  });
  afterEach(() => rmSync(join(path, ".."), { recursive: true }));
  const open = () => openVault({ store, path, random });

  it("is made at the first start, for the owner alone, and read at the next", async () => {
    const closed = (await open()).seal("text", "p");
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal((await open()).open(closed, "p"), "text");
  });

  it("may grow by a key, which then closes", async () => {
    const closed = (await open()).seal("text", "p");
    appendFileSync(path, `k2 ${Buffer.alloc(32, 2).toString("base64")}\n`);
    const vault = await open();
    assert.equal(vault.open(closed, "p"), "text");
    assert.match(vault.seal("text", "p"), /:k2:/);
  });

  it("is missed when it is gone, not made anew, and another in its place is refused", async () => {
    await open();
    const text = readFileSync(path, "utf8");
    rmSync(path);
    await assert.rejects(open(), /put the file back/);
    assert.throws(() => statSync(path), { code: "ENOENT" });
    writeFileSync(path, `k1 ${Buffer.alloc(32, 9).toString("base64")}\n`, { mode: 0o600 });
    await assert.rejects(open(), /The key "k1", which the store was written with, is not in/);
    writeFileSync(path, `k2 ${Buffer.alloc(32, 9).toString("base64")}\n`);
    await assert.rejects(open(), /The key "k1"/);
    writeFileSync(path, text);
    await open();
  });

  it("is refused when others can read it, or it holds anything else", async () => {
    await open();
    chmodSync(path, 0o640);
    await assert.rejects(open(), /can be used by others \(mode 640\)/);
    chmodSync(path, 0o600);
    for (const text of ["", "k1 short\n", "k1\n", `k1 ${Buffer.alloc(32).toString("base64")}\nk1 ${Buffer.alloc(32, 1).toString("base64")}\n`]) {
      writeFileSync(path, text);
      await assert.rejects(open(), (error) => error instanceof Error && error.message.includes(path) && !error.message.includes("short"));
    }
  });
});
