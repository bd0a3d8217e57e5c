import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { must, need } from '../store/children.ts';

/** Files of a certificate and its key. */
export interface CertificateFiles {
  readonly cert: string;
  readonly key: string;
}

/** An authority that signs certificates, all in a folder that is deleted behind the test. */
export interface Authority {
  readonly folder: string;
  /** The file of its own certificate, and what stands in it. */
  readonly ca: string;
  readonly caText: string;
  /** A certificate for this machine, of this name. @param days how long it is valid; it may have ended already */
  certificate(name: string, days?: number): CertificateFiles;
}

export function makeAuthority(onFinished: (cleanUp: () => void) => void = onTestFinished): Authority {
  need('openssl');
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-tls-'));
  onFinished(() => rmSync(folder, { recursive: true, force: true }));
  const file = (name: string): string => join(folder, name);
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  const [ca, caKey] = [file('ca.pem'), file('ca.key')];
  must('openssl', 'req', '-x509', ...newKey, '-keyout', caKey, '-out', ca, '-days', '2', '-subj', '/CN=test authority');
  writeFileSync(file('names'), 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1');
  return {
    folder,
    ca,
    caText: readFileSync(ca, 'utf8'),
    certificate(name, days = 2) {
      const [cert, key, request] = [file(`${name}.pem`), file(`${name}.key`), file(`${name}.csr`)];
      must('openssl', 'req', ...newKey, '-keyout', key, '-out', request, '-subj', `/CN=${name}`);
      const signing = ['x509', '-req', '-in', request, '-CA', ca, '-CAkey', caKey, '-CAcreateserial'];
      must('openssl', ...signing, '-out', cert, '-days', String(days), '-extfile', file('names'));
      return { cert, key };
    },
  };
}
