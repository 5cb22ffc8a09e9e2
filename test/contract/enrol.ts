/** A host that joins: it knows the server by the token's pin alone, makes its keys itself, and keeps what it is given as files. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { NodeCertificates } from "../../gen/drover/agent/v1/agent.ts";
import { EnrolmentServiceDefinition } from "../../gen/drover/agent/v1/enrolment.ts";
import { connect } from "../../lib/client.ts";
import { parseJoinToken } from "../../lib/pki/join-token.ts";
import { newRequest } from "../../lib/pki/keys.ts";
import { pinnedAuthority } from "../../lib/pki/pinned-authority.ts";

export type NodeFiles = { ca: string; cert: string; key: string };
export type Enrolled = { certificates: NodeCertificates; agent: NodeFiles; migration: NodeFiles };

/** Joins, and writes both certificates with their keys below the directory. */
export async function enrol(directory: string, { server, token }: { server: string; token: string }): Promise<Enrolled> {
  mkdirSync(directory, { recursive: true });
  const file = (name: string, text: string) => {
    const path = join(directory, name);
    writeFileSync(path, text, { mode: 0o600 });
    return path;
  };
  const pin = parseJoinToken(token)?.pin ?? "";
  const ca = file("ca.pem", await pinnedAuthority(server, pin));
  const [agent, migration] = await Promise.all([newRequest(), newRequest()]);
  using connection = connect({ server, tls: { ca } });
  const { certificates } = await connection.client(EnrolmentServiceDefinition).enroll({ token, csrPem: agent.csrPem, migrationCsrPem: migration.csrPem });
  const { certificatePem, migrationCertificatePem, caPem, migrationCaPem } = certificates!;
  file("ca.pem", caPem);
  return {
    certificates: certificates!,
    agent: { ca, cert: file("agent.pem", certificatePem), key: file("agent.key", agent.keyPem) },
    migration: { ca: file("migration-ca.pem", migrationCaPem), cert: file("migration.pem", migrationCertificatePem), key: file("migration.key", migration.keyPem) },
  };
}
