/** The first contact: nothing is believed but the pinned certificate, and what has signed it. */
import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import type { Server } from "node:tls";
import { pinOf } from "../../../../lib/pki/join-token.ts";
import { pinnedAuthority, PinNotFound } from "../../../../lib/pki/pinned-authority.ts";
import { anAuthority, forge } from "../../../contract/forge.ts";
import type { NewAuthority } from "../../../contract/forge.ts";

describe("the pinned authority", () => {
  let directory: string;
  let server: Server | undefined;
  let root: NewAuthority;
  let pinned: NewAuthority;
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), "drover-pin-"));
    root = await anAuthority("root");
    pinned = await anAuthority("pinned", { below: root.signer });
  });
  afterEach(() => server?.close());
  after(() => rmSync(directory, { recursive: true }));

  /** A server with a certificate of that signer, which shows these authorities behind it. */
  async function showing(signer: NewAuthority["signer"], ...chain: NewAuthority[]): Promise<string> {
    const { cert, key } = await forge(directory, { ca: "", signer, chain: chain.map(({ pem }) => pem).join("") });
    server = createServer({ cert: readFileSync(cert!), key: readFileSync(key!) }, (socket) => socket.on("error", () => undefined));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  }

  const pin = () => pinOf(new X509Certificate(pinned.pem));
  const subjects = (pem: string) => pem.split(/(?<=-----END CERTIFICATE-----\n)/).map((each) => new X509Certificate(each).fingerprint256);
  const fingerprint = ({ pem }: NewAuthority) => new X509Certificate(pem).fingerprint256;

  it("is found with those above it", async () => {
    const address = await showing(pinned.signer, pinned, root);
    assert.deepEqual(subjects(await pinnedAuthority(address, pin())), [fingerprint(pinned), fingerprint(root)]);
  });

  it("brings nobody along who only has the name of its signer", async () => {
    const impostor = await anAuthority("root");
    // Whoever is in between has neither key, but may show what it likes.
    const signer = { certificate: pinned.signer.certificate, privateKey: impostor.signer.privateKey };
    const address = await showing(signer, pinned, impostor);
    assert.deepEqual(subjects(await pinnedAuthority(address, pin())), [fingerprint(pinned)]);
  });

  it("is not another one of the same name", async () => {
    const other = await anAuthority("pinned", { below: root.signer });
    const address = await showing(other.signer, other, root);
    await assert.rejects(pinnedAuthority(address, pin()), PinNotFound);
  });
});
