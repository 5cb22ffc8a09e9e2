/** The threats that Drover is tested against, each in a file of its own: none is without one, and none is skipped. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const HERE = import.meta.dirname;
const LAB = join(HERE, "../lab");

/** By number; what needs real hosts is among the lab's tests. */
const THREATS: Record<string, { threat: string; on: "api-server" | "hosts" }> = {
  T1: { threat: "a tenant reads another namespace", on: "api-server" },
  T2: { threat: "a compromised agent takes others' machines", on: "api-server" },
  T3: { threat: "a compromised agent lures machines", on: "api-server" },
  T4: { threat: "an agent poisons a status", on: "api-server" },
  T5: { threat: "a guest agent answers maliciously", on: "api-server" },
  T6: { threat: "XML is injected", on: "api-server" },
  T7: { threat: "dangerous features of the domain XML", on: "api-server" },
  T8: { threat: "a host's file through a disk's path", on: "api-server" },
  T9: { threat: "tricks in an image's header", on: "api-server" },
  T10: { threat: "images that grow", on: "api-server" },
  T11: { threat: "requests forged through an image's address", on: "api-server" },
  T12: { threat: "cloud-init's secrets are seen", on: "api-server" },
  T13: { threat: "a console is hijacked", on: "api-server" },
  T14: { threat: "a tunnel is abused", on: "api-server" },
  T15: { threat: "a join token is stolen", on: "api-server" },
  T16: { threat: "floods of HTTP/2", on: "api-server" },
  T17: { threat: "watchers exhaust the server", on: "api-server" },
  T18: { threat: "logs and terminals are injected into", on: "api-server" },
  T19: { threat: "secrets lie about", on: "api-server" },
  T20: { threat: "prototypes are polluted, numbers rounded", on: "api-server" },
  T21: { threat: "a migration's port is open", on: "hosts" },
  T22: { threat: "old or exchanged parts", on: "api-server" },
  T23: { threat: "the audit is tampered with", on: "api-server" },
  T24: { threat: "a node's certificate drives another host's libvirt", on: "hosts" },
};

const padded = (id: string) => `T${id.slice(1).padStart(2, "0")}`;

function fileOf(id: string): string {
  const onHosts = THREATS[id]!.on === "hosts";
  const [directory, prefix] = onHosts ? [LAB, `security-${padded(id)}`] : [HERE, padded(id)];
  const found = readdirSync(directory).filter((name) => new RegExp(`^${prefix}(-[a-z0-9-]+)?\\.test\\.ts$`).test(name));
  assert.equal(found.length, 1, `${id}, ${THREATS[id]!.threat}: ${found.length === 0 ? "there is no test" : found.join()}`);
  return join(directory, found[0]!);
}

describe("the security suite", () => {
  it("has every threat from T1 to T24", () => {
    assert.deepEqual(Object.keys(THREATS), Array.from({ length: 24 }, (_, index) => `T${index + 1}`));
  });

  for (const [id, { threat }] of Object.entries(THREATS)) {
    it(`has a test of ${id}: ${threat}`, () => {
      const text = readFileSync(fileOf(id), "utf8");
      assert.ok(new RegExp(`describe\\("(T0?${id.slice(1)})[: ]`).test(text), "its describe names the threat");
      assert.match(text, /\bit\(/);
      // What skips itself for want of a tool fails the run, unless the run allows it by name.
      assert.equal(/\b(it|describe)\.(skip|only)\(/.test(text), false, "a test is taken out");
    });
  }
});
