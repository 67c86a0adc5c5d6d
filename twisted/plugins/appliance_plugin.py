"""Makes `twistd appliance` known; imports nothing of ours, so that a look for plugins stays cheap."""

from twisted.application.service import ServiceMaker

appliance = ServiceMaker("appliance", "appliance.tap", "The management APIs of an appliance.", "appliance")
