/** The authority's files and chains: made once, never loosely kept, never half of a pair. */
import "reflect-metadata";
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../../../lib/clock.ts";
import { newKeyPair, privateKeyPem } from "../../../../lib/pki/keys.ts";
import { systemRandom } from "../../../../lib/random.ts";
import { Authority } from "../../../../api-server/authority/authority.ts";
import { anAuthority } from "../../../contract/forge.ts";
import type { NewAuthority } from "../../../contract/forge.ts";

describe("the authority", function () {
  this.timeout(20_000);
  let directory: string;
  beforeEach(() => (directory = join(mkdtempSync(join(tmpdir(), "drover-authority-")), "pki")));
  afterEach(() => rmSync(join(directory, ".."), { recursive: true }));

  const file = (name: string) => join(directory, name);
  const open = () => Authority.open({ directory, trustDomain: "test", clock: systemClock, random: systemRandom });
  async function bring({ keys }: NewAuthority, ...chain: NewAuthority[]) {
    mkdirSync(directory, { mode: 0o700 });
    writeFileSync(file("ca.pem"), chain.map(({ pem }) => pem).join(""));
    writeFileSync(file("ca.key"), await privateKeyPem(keys), { mode: 0o600 });
  }

  it("is made at the first start, for nobody else to read, and found at the second", async () => {
    const first = await open();
    assert.deepEqual([directory, file("ca.key")].map((path) => statSync(path).mode & 0o777), [0o700, 0o600]);
    const certificate = new X509Certificate(readFileSync(file("ca.pem")));
    assert.ok(certificate.ca);
    assert.ok(Date.parse(certificate.validTo) - Date.now() > 3_600 * 86_400_000);
    const second = await open();
    assert.deepEqual([second.caPem, second.pin], [first.caPem, first.pin]);
  });

  it("signs for QEMU by another authority, which QEMU trusts alone", async () => {
    const authority = await open();
    const { publicKey } = await newKeyPair();
    const made = await authority.issueNode({ uid: "0f3c", incarnation: 1 }, { agent: publicKey, migration: publicKey }, authority.newLife());
    const user = await authority.issueUser({ name: "alice", groups: [], ttlMs: 3_600_000, publicKey });
    const [drover, qemu] = [authority.caPem, authority.migrationCaPem].map((pem) => new X509Certificate(pem));
    const signers = (pem: string) => [drover, qemu].map((ca) => new X509Certificate(pem).verify(ca!.publicKey));
    assert.deepEqual([made.agent.pem, user.pem, made.migration.pem].map(signers), [[true, false], [true, false], [false, true]]);
    assert.equal((await open()).migrationCaPem, authority.migrationCaPem);
  });

  it("refuses a key or a directory that others can use", async () => {
    await open();
    chmodSync(file("ca.key"), 0o640);
    await assert.rejects(open(), /ca\.key can be used by others \(mode 640\)/);
    chmodSync(file("ca.key"), 0o600);
    chmodSync(directory, 0o755);
    await assert.rejects(open(), /can be used by others \(mode 755\)/);
  });

  for (const lost of ["ca.pem", "ca.key"]) {
    it(`does not go on without ${lost}, and makes no other in its place`, async () => {
      await open();
      rmSync(file(lost));
      await assert.rejects(open(), /bring the other half/);
      assert.equal(existsSync(file(lost)), false);
    });
  }

  it("is brought along below another one", async () => {
    const root = await anAuthority("company");
    const own = await anAuthority("drover", { below: root.signer });
    await bring(own, own, root);
    const authority = await open();
    const { pem } = await authority.issueUser({ name: "alice", groups: ["dev"], ttlMs: 60_000, publicKey: (await newKeyPair()).publicKey });
    const leaf = new X509Certificate(pem);
    assert.ok(leaf.verify(new X509Certificate(own.pem).publicKey));
    assert.equal(pem.match(/BEGIN CERTIFICATE/g)!.length, 3, "the chain goes with it");
    assert.deepEqual([authority.signed(leaf.raw), authority.signed(new X509Certificate(own.pem).raw)], [true, false]);
  });

  it("is not what does not hold", async () => {
    const [root, other] = [await anAuthority("company"), await anAuthority("other")];
    const own = await anAuthority("drover", { below: root.signer });
    const cases: [NewAuthority, NewAuthority[], RegExp][] = [
      [own, [own], /its issuer is missing/],
      [own, [own, other], /not signed by the one behind it/],
      [other, [own, root], /of another key than the one beside it/],
      [own, [], /no certificate in it/],
    ];
    for (const [key, chain, words] of cases) {
      await bring(key, ...chain);
      await assert.rejects(open(), words);
      rmSync(directory, { recursive: true });
    }
  });

  it("signs nothing that outlives it", async () => {
    const short = await anAuthority("short", { toDays: 0.5 });
    await bring(short, short);
    const authority = await open();
    const { life } = await authority.issueUser({ name: "alice", groups: [], ttlMs: 86_400_000, publicKey: (await newKeyPair()).publicKey });
    assert.equal(life.notAfter.getTime(), authority.notAfter.getTime());
  });

  it("gives each kind its own use, and every certificate another serial number", async () => {
    const authority = await open();
    const keys = await newKeyPair();
    const { agent, migration } = await authority.issueNode({ uid: "0b5e6d1e-0000-4000-8000-000000000001", incarnation: 1 }, { agent: keys.publicKey, migration: keys.publicKey }, authority.newLife());
    const server = await authority.keep("server", { identity: { kind: "api-server" }, names: ["api.example.org"], addresses: ["10.0.0.1"] });
    const controller = await authority.keep("controller", { identity: { kind: "controller" } });
    const all = [agent.pem, migration.pem, server.certificate, controller.certificate].map((pem) => new X509Certificate(pem));
    const [serverAuth, clientAuth] = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"];
    assert.deepEqual(all.map(({ keyUsage }) => keyUsage), [[serverAuth, clientAuth], [serverAuth, clientAuth], [serverAuth], [clientAuth]]);
    assert.equal(new Set(all.map(({ serialNumber }) => serialNumber)).size, 4);
    assert.equal(all[2]!.subjectAltName, "URI:spiffe://test/api-server, DNS:api.example.org, IP Address:10.0.0.1");
    assert.ok(all.every(({ ca }) => !ca));
    assert.deepEqual(["server.key", "controller.key"].map((name) => statSync(file(name)).mode & 0o777), [0o600, 0o600]);
  });
});
