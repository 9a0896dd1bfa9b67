"""The report server as `lamm up` starts it: on a socket that is handed over, until standard input ends.

python -m lamm_pipeline.reports ROOT HOST SOCKET
"""

import socket
import sys

from lamm_pipeline.orchestration.workspace import Workspace
from lamm_pipeline.reports.security import access_for
from lamm_pipeline.reports.server import serve

root, host, descriptor = sys.argv[1:]
workspace = Workspace(root=root)
access = access_for(host, workspace.settings.report_token)
serve(workspace, access, socket.socket(fileno=int(descriptor)), until_input_ends=True)
