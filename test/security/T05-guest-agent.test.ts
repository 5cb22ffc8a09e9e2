/**
 * T5: a guest agent that answers with what is huge, deep, false or without end. Drover asks it nothing, so that nothing that
 * it says can arrive: there is a channel in the guest, and nobody of Drover's at its other end.
 */
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { channels } from "../../node-agent/domain/devices/channel.ts";
import { LOCAL, REMOTE } from "../../node-agent/libvirt/driver/symbols.ts";
import { methods, fields, nameOf, pathOf, valuesOf } from "./descriptors.ts";

const ROOT = join(import.meta.dirname, "../..");
/** Calls of libvirt that are answered by the agent in the guest, always or with some flag. */
const ASKS_THE_GUEST = /Agent|Qemu|GuestInfo|GetHostname$|InterfaceAddresses|GetFSInfo|FSFreeze|FSThaw|FSTrim|GetTime|SetTime|SetUserPassword|GuestVcpus|AuthorizedSSHKeys|PMSuspend/;

describe("T5: a malicious guest agent", () => {
  it("is asked nothing: the driver has no call of libvirt's that would", () => {
    const asking = [...Object.keys(REMOTE), ...Object.keys(LOCAL)].filter((name) => name.startsWith("virDomain") && ASKS_THE_GUEST.test(name));
    assert.deepEqual(asking, []);
  });

  it("is not spoken to past libvirt: nothing opens its channel", () => {
    const agent = join(ROOT, "node-agent");
    const speaking = readdirSync(agent, { recursive: true, encoding: "utf8" })
      .filter((file) => file.endsWith(".ts") && /guest_agent|guest-sync|guest-info|guest-ping/.test(readFileSync(join(agent, file), "utf8")));
    assert.deepEqual(speaking, ["domain/devices/channel.ts"]);
    // Its place is libvirt's to choose: no path of Drover's is in it.
    assert.deepEqual(channels().length, 1);
    assert.doesNotMatch(JSON.stringify(channels()), /path|source/);
  });

  it("has no field of the API to fill and no call to be reached by", () => {
    assert.deepEqual(fields.map(nameOf).filter((name) => /guest_?(agent|info|os|address|exec)|ip_?addr|filesystem|qga/i.test(name)), []);
    assert.deepEqual(methods.map(pathOf).filter((name) => /Guest|Exec|Password|Freeze/.test(name)), []);
    assert.deepEqual(valuesOf("drover.agent.v1.TunnelKind").filter((name) => /AGENT|GUEST/.test(name)), []);
  });
});
