"""Records tokens that official Airflow signs with each kind of key, and its set of public keys.

Run with the Python of `.venv`; writes to `fixtures/jwt`. The private keys are made once and kept: they guard nothing.
"""

import json
from pathlib import Path

import jwt
from airflow.api_fastapi.auth.tokens import JWTGenerator, generate_private_key, key_to_jwk_dict, key_to_pem
from cryptography.hazmat.primitives.serialization import load_pem_private_key

FOLDER = Path(__file__).parent.parent / "fixtures" / "jwt"
# Valid whenever the tests run: from 1970 to 2100.
CLAIMS = {"sub": "admin", "role": "admin", "teams": [], "aud": "apache-airflow", "nbf": 0, "iat": 0, "exp": 4102444800}


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    tokens, keys = {}, []
    for name, kind in (("rsa", "RSA"), ("ed25519", "Ed25519")):
        file = FOLDER / f"{name}.pem"
        if not file.exists():
            file.write_bytes(key_to_pem(generate_private_key(kind)))
        key = load_pem_private_key(file.read_bytes(), password=None)
        tokens[name] = _token(JWTGenerator(private_key=key, valid_for=0, audience="", issuer=None))
        keys.append(key_to_jwk_dict(key))
    tokens["secret"] = _token(JWTGenerator(private_key=None, secret_key="s" * 64, valid_for=0, audience="", issuer=None))
    (FOLDER / "tokens.json").write_text(json.dumps(tokens, indent=2) + "\n")
    (FOLDER / "jwks.json").write_text(json.dumps({"keys": keys}, indent=2) + "\n")


def _token(generator):
    headers = {"alg": generator.algorithm, "kid": generator.kid}
    token = jwt.encode(CLAIMS, generator.signing_arg, algorithm=generator.algorithm, headers=headers)
    return {"kid": generator.kid, "token": token}


if __name__ == "__main__":
    main()
