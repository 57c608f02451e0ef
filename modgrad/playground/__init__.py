"""The playground: a page in which exported training steps train, in the reader's own browser.

    modgrad playground                    starts it (`server`)
    python -m modgrad.playground.models   exports the steps that it offers (`models`)
    python -m modgrad.playground.sizes    tells how large the built page is (`sizes`)

The page's source is in `web/playground/`. `make playground` builds it into `page/`, from where a wheel takes it.
"""
