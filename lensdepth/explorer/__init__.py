"""The explorer: poke at a model in the browser, offline. `lensdepth explore` starts it.

`state` is what stands on the screen, `links` checks what a browser sends of it, `settle` fills it
for a model, `questions` is what it asks of the library, `shelf` where the answers are kept, `jobs`
where long ones are found, `script` the same questions as a program, `session` all that a tab asked.
`layout`, `notes` and `panels` make the page, the `callbacks` keep it in step, and `server` lets the
right people see it.
"""

from lensdepth.explorer.server import create_app, serve
from lensdepth.explorer.state import Offers

__all__ = ["Offers", "create_app", "serve"]
